// Where the load goes and where it comes from. The one place that decides whether a target is on this machine; asked by
// the coordinator before anything is sent, and by every worker again.

package import Reactor

/// The target of a run, resolved.
package struct Targets: Sendable {
    /// The server.
    package let target: SocketAddress
    /// Value of the Host field.
    package let hostField: String
    private let sources: [SocketAddress]

    /// The target of `plan`; nil when its host is not a numeric address.
    package init?(plan: LoadPlan) {
        guard let target = SocketAddress(host: plan.host, port: plan.port) else { return nil }
        self.target = target
        hostField = plan.host.contains(":") ? "[\(plan.host)]:\(plan.port)" : "\(plan.host):\(plan.port)"
        let isIPv4Loopback = plan.host.hasPrefix("127.")
        sources = (0..<(isIPv4Loopback ? plan.sources : 0)).compactMap {
            SocketAddress(host: "127.0.\($0 / 250).\($0 % 250 + 1)", port: 0)
        }
    }

    /// The source address of connection `index`; nil leaves it to the kernel.
    package func source(of index: Int) -> SocketAddress? {
        sources.isEmpty ? nil : sources[index % sources.count]
    }

    /// Whether a numeric address is on this machine: 127.0.0.0/8 or ::1, nothing else.
    package static func isLoopback(_ host: String) -> Bool {
        guard SocketAddress(host: host, port: 0) != nil else { return false }
        if host.contains(":") { return SocketAddress(host: host, port: 0)?.host == "::1" }
        return host.split(separator: ".").first == "127"
    }
}

extension LoadPlan {
    /// The name of the room that connection `index` is in.
    package func roomName(of index: Int) -> String {
        LoadProtocol.expand(room, room: room(of: index), connection: index)
    }
}
