// How a client behaves, and every bound that it keeps. Beside each bound stands what happens there.

/// Settings of one client; fixed for its life.
package struct ClientOptions: Sendable {
    /// Gateways that serve the same rooms; at least one. The first attempt goes to a random one, so that clients spread
    /// over them, each further one to the next in this order.
    package var urls: [ClientURL]
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
    /// The same while another gateway is left to try: a machine that is switched off must not cost much.
    package var switchTimeout = Duration.seconds(3)
    /// Time for the reply to a request; a subscribe or a publish then makes a new connection, others fail.
    package var requestTimeout = Duration.seconds(10)
    /// How long a publish is repeated, always with the same key, when the connection was lost, no answer came, or the
    /// server answered 100 or 120; counted from the wish, or from the connection that it had to wait for. Then it fails
    /// with the last error; with zero after the first attempt. To be kept well below the 5 minutes for which servers
    /// remember keys, so that no repetition can be published twice.
    package var publishPatience = Duration.seconds(30)
    /// How long a publish waits for a room that takes no more (111), counted from the first such answer; then it fails
    /// with it, and at once where the server names a longer wait. This wait does not count as `publishPatience`. With
    /// zero, 111 fails at once.
    package var limitPatience = Duration.seconds(600)
    /// First upper bound of the wait before a refused publish is sent again; doubles up to `publishBackoffCap`.
    package var publishBackoffBase = Duration.milliseconds(200)
    /// Largest upper bound of that wait.
    package var publishBackoffCap = Duration.seconds(2)
    /// How much longer than the server's ping interval silence is taken for life; then the connection is given up.
    package var pingSlack = Duration.seconds(10)
    /// First upper bound of the wait before a new connection, or after all gateways were tried in vain; doubles up to
    /// `backoffCap`, always with full jitter.
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
    /// Rooms with a publish that is sent and not answered; the others wait. A room has one at a time.
    package var inFlight = 32
    /// Rooms that can be subscribed; more are refused.
    package var rooms = 1024
    /// Requests other than publishes that are unanswered; more fail with `queueFull`.
    package var requests = 1024
    /// Members that a list of who is in a room can have; a longer one is cut, and says so.
    package var presenceMembers = 10_000
    /// Members that are asked for at once.
    package var presencePage = 500
    /// Memory of all lists that are being asked for, about; where there is no more, a list is cut.
    package var presenceBytes = 8 << 20
    /// Largest message from the server; a larger one closes the connection with 1009.
    package var messageBytes = 4 << 20

    /// The defaults for gateways at `urls`.
    package init(urls: [ClientURL]) {
        precondition(!urls.isEmpty, "a client needs a gateway")
        self.urls = urls
    }
}
