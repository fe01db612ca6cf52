// What the client listener goes by; made from the configuration once, then shared by all loops.
// Defaults stand here for tests; the configuration sets every value that an operator can set.

package import Bytes
package import WebSocket

/// Settings of client connections.
package struct ClientSettings: Sendable {
    /// Largest message of a client, in bytes.
    package var maxMessageSize = 64 * 1024
    /// Bytes that may wait for one client; above: 3008.
    package var queueMaxSize = 1 << 20
    /// Whether /echo exists.
    package var echo = false
    /// Whether permessage-deflate is negotiated.
    package var compression = false
    /// Whether the user id is taken from the query (development).
    package var isInsecure = false
    /// Which pages may connect.
    package var origins = OriginPolicy.sameHost
    /// Time for the whole request head.
    package var headTimeout = Duration.seconds(10)
    /// Time without a byte after which a peer of /echo, which nobody pings, is let go; at most twice as long.
    package var echoIdleTimeout = Duration.seconds(60)
    /// Time between our Close and the peer's; also for a slow client to read what comes before the Close.
    package var closeTimeout = Duration.seconds(5)

    /// Whom clients come through.
    package var proxies = ProxySettings()

    package init() {}
}

/// What proxies in front say about clients, and which of them are believed.
package struct ProxySettings: Sendable {
    /// Every connection begins with a PROXY header, and comes from a trusted network.
    package var expectsHeader = false
    /// Networks that are believed and have no limit of their own.
    package var trusted = Networks()

    package init() {}
}
