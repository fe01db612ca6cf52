// What clients have to know of the gateways: how many there are, where they listen now, and whether one could have
// answered. The rig answers from its processes; tests answer from servers of their own.

package import Bytes
package import Reactor

/// The gateways as clients see them.
package protocol GatewayDirectory: AnyObject {
    /// How many there are.
    var gatewayCount: Int { get }
    /// Where `gateway` is reached, through its proxy or directly; nil while it is down.
    func address(_ gateway: Int, proxied: Bool) -> SocketAddress?
    /// Whether nothing excuses `gateway` for not having answered since `time`.
    func mustAnswer(_ gateway: Int, since time: MonotonicTime) -> Bool
}

extension ClusterRig: GatewayDirectory {
    package var gatewayCount: Int { gateways.count }

    package func mustAnswer(_ gateway: Int, since time: MonotonicTime) -> Bool {
        gateways[gateway].isUp && !gateways[gateway].wasFrozen(since: time)
    }
}
