// What a link says first, in one write: AUTH, SELECT, CLIENT SETNAME, INFO server, INFO replication, on a command link
// SCRIPT LOAD of every script, PING. INFO tells which life of which master answers. The scripts are loaded here so that
// no call of a later moment meets NOSCRIPT. The PING is there for its refusals: a server that is loading, lacks its
// master or wants a login answers much else as if all were well.
//
// The links send the commands on each new connection and hand in the replies in order. Bounded by the steps and by
// `informationBytes`.

package import Bytes

/// The login of a link. Holds the password, so it describes itself by its steps only.
package struct LinkHandshake: Sendable, CustomReflectable {
    /// What the link is for.
    package enum Purpose: Sendable {
        case commands, subscriptions
    }

    /// One command of the login.
    package enum Step: Equatable, Sendable {
        case authenticate, select, name, server, replication, ping
        /// Loading the script of this number in `RedisScript.all`.
        case script(Int)
    }

    /// Bytes of an answer to INFO; a longer one is an unexpected reply. Redis sends some 2 KiB, and 100 bytes for each
    /// replica.
    package static let informationBytes = 256 * 1024

    /// The commands in the order in which they are sent.
    package let steps: [Step]
    /// Every command before the scripts.
    private let opening: [UInt8]
    private var answered = 0
    private var server: [UInt8] = []
    /// Which life answers; nil before INFO is answered.
    package private(set) var life: RedisLife?

    /// The login that `settings` ask for.
    package init(_ settings: LinkSettings, for purpose: Purpose) {
        var output = ByteBuffer()
        var steps: [Step] = []
        if let password = settings.password {
            output.beginCommand(settings.user == nil ? 2 : 3)
            output.appendArgument("AUTH")
            if let user = settings.user { output.appendArgument(text: user) }
            output.appendArgument(text: password)
            steps.append(.authenticate)
        }
        if settings.database != 0 {
            output.beginCommand(2)
            output.appendArgument("SELECT")
            output.appendArgument(text: String(settings.database))
            steps.append(.select)
        }
        output.beginCommand(3)
        output.appendArgument("CLIENT")
        output.appendArgument("SETNAME")
        output.appendArgument(text: LinkHandshake.allowedName(settings.clientName))
        // Servers before 7.0 take one section a call.
        for section: StaticString in ["server", "replication"] {
            output.beginCommand(2)
            output.appendArgument("INFO")
            output.appendArgument(section)
        }
        steps += [.name, .server, .replication]
        if purpose == .commands { steps += RedisScript.all.indices.map(Step.script) }
        self.steps = steps + [.ping]
        opening = Array(output.bytes)
    }

    package var customMirror: Mirror { Mirror(self, children: ["steps": steps]) }

    /// Appends the commands to `output` and begins with the first reply.
    package mutating func begin(in output: inout ByteBuffer) {
        answered = 0
        server = []
        life = nil
        opening.withUnsafeBytes { output.append($0) }
        for case .script(let number) in steps { RedisScript.all[number].appendLoad(to: &output) }
        output.beginCommand(1)
        output.appendArgument("PING")
    }

    /// Takes the reply to the next step. True when it was the last one: the login is done and `life` is known. Throws
    /// what is wrong with the reply; the login is over then.
    package mutating func take(_ reply: RedisReply) throws(LinkFault) -> Bool {
        guard answered < steps.count else { throw .unexpectedReply }
        let step = steps[answered]
        answered += 1
        if let kind = reply.error {
            switch step {
            case .authenticate, .select, .server, .replication, .script: throw .refused(kind)
            // A server that forbids naming oneself, or that answers a PING with what it cannot do now (its disk is
            // full), is there and judges each command by itself.
            case .name, .ping: if kind.condemnsLink { throw .refused(kind) }
            }
            return step == .ping
        }
        switch step {
        case .authenticate, .select, .name: try require(reply.isString("OK"))
        case .server:
            try require(reply.kind == .bulk && reply.bytes.count <= LinkHandshake.informationBytes)
            server = Array(reply.bytes)
        case .replication: try identify(reply)
        case .script(let number): try require(RedisScript.all[number].isLoaded(by: reply))
        case .ping: try require(reply.kind == .status && reply.isString("PONG"))
        }
        return step == .ping
    }

    private mutating func identify(_ reply: RedisReply) throws(LinkFault) {
        try require(reply.kind == .bulk && reply.bytes.count <= LinkHandshake.informationBytes)
        guard let role = RedisLife.role(in: reply.bytes) else { throw .unexpectedReply }
        guard role.equals("master") else { throw .refused(.readOnly) }
        life = server.withUnsafeBytes { RedisLife(server: $0, replication: reply.bytes) }
        server = []
        try require(life != nil)
    }

    private func require(_ isAsExpected: Bool) throws(LinkFault) {
        guard isAsExpected else { throw .unexpectedReply }
    }

    /// `!` to `~` is what Redis allows in a client's name.
    private static func allowedName(_ name: String) -> String {
        String(decoding: name.utf8.map { $0 > 0x20 && $0 < 0x7F ? $0 : UInt8(ascii: "_") }, as: UTF8.self)
    }
}

extension RedisErrorKind {
    /// Whether the error tells that this server or this login is the wrong one for every command: the next connection
    /// may reach a better one.
    var condemnsLink: Bool {
        switch self {
        case .readOnly, .loading, .masterDown, .noAuthentication, .wrongPassword, .tooManyClients: true
        case .noScript, .misconfigured, .outOfMemory, .busy, .noPermission, .other: false
        }
    }
}
