// How a client behaves, and every bound that it keeps. Beside each bound stands what happens there.

/// Settings of one client; fixed for its life.
package struct ClientOptions: Sendable {
    /// Where to connect.
    package var url: ClientURL
    /// The connection token; nil connects without one.
    package var token: String?
    /// What the client calls itself.
    package var name = "martlet-client"
    /// Its version.
    package var version = ""
    /// JSON that goes along with `connect`; nil for none.
    package var data: [UInt8]?

    /// Time for the TCP connection, the opening handshake and the reply to `connect`, each; then the attempt failed.
    package var openTimeout = Duration.seconds(10)
    /// Time for the reply to a request; a publish is then repeated, a subscribe makes a new connection, others fail.
    package var requestTimeout = Duration.seconds(10)
    /// How often a publish is sent on living connections before it fails with a timeout.
    package var publishAttempts = 3
    /// How much longer than the server's ping interval silence is taken for life; then the connection is given up.
    package var pingSlack = Duration.seconds(10)
    /// First upper bound of the wait before a new connection; doubles up to `backoffCap`, always with full jitter.
    package var backoffBase = Duration.milliseconds(500)
    /// Largest upper bound of that wait.
    package var backoffCap = Duration.seconds(20)
    /// A connection that lived this long makes the next wait start at `backoffBase` again.
    package var stableAfter = Duration.seconds(5)
    /// The longest wait that a server's hint can ask for.
    package var hintCap = Duration.seconds(300)

    /// Publishes that wait or are unanswered; more fail with `queueFull`.
    package var queueCount = 1000
    /// Bytes of their data; more fail with `queueFull`.
    package var queueBytes = 1 << 20
    /// Publishes that are sent and not answered at a time; the others wait in the queue.
    package var inFlight = 32
    /// Rooms that can be subscribed; more are refused.
    package var rooms = 1024
    /// Requests other than publishes that are unanswered; more fail with `queueFull`.
    package var requests = 1024
    /// Largest message from the server; a larger one closes the connection with 1009.
    package var messageBytes = 4 << 20

    /// The defaults for `url`.
    package init(url: ClientURL) { self.url = url }
}
