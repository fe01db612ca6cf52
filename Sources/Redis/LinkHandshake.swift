// What a link says first, in one write: AUTH, SELECT, CLIENT SETNAME, PING. The PING is there for its refusals: a
// server that is loading, lacks its master or wants a login answers everything else as if all were well.
//
// The bytes are made once from the settings; the links send them and judge the replies step by step, in order.

package import Bytes

/// The login of a link. Holds the password, so it describes itself by its steps only.
package struct LinkHandshake: Sendable, CustomReflectable {
    /// One command of the login.
    package enum Step: UInt8, Sendable {
        case authenticate, select, name, ping
    }

    /// The commands in the order in which they are sent.
    package let steps: [Step]
    private let commands: [UInt8]

    /// The login that `settings` ask for.
    package init(_ settings: LinkSettings) {
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
        output.beginCommand(1)
        output.appendArgument("PING")
        steps += [.name, .ping]
        self.steps = steps
        commands = Array(output.bytes)
    }

    package var customMirror: Mirror { Mirror(self, children: ["steps": steps]) }

    /// Appends the commands to `output`.
    package func append(to output: inout ByteBuffer) {
        commands.withUnsafeBytes { output.append($0) }
    }

    /// What is wrong with the reply to `step`; nil when it is as it should be.
    package static func judge(_ step: Step, _ reply: RedisReply) -> LinkFault? {
        if let kind = reply.error {
            switch step {
            case .authenticate, .select: return .refused(kind)
            // A server that forbids naming oneself, or that answers a PING with what it cannot do now (its disk is
            // full, a script runs), is there and judges each command by itself.
            case .name, .ping: return kind.condemnsLink ? .refused(kind) : nil
            }
        }
        switch step {
        case .authenticate, .select, .name: return reply.isString("OK") ? nil : .unexpectedReply
        case .ping: return isPong(reply) ? nil : .unexpectedReply
        }
    }

    /// Whether this answers a PING: a status, or `[pong, ""]` while the connection has subscriptions.
    package static func isPong(_ reply: RedisReply) -> Bool {
        switch reply.kind {
        case .status: reply.isString("PONG")
        case .array: reply.count == 2 && reply[0]?.isString("pong") == true
        case .null, .error, .integer, .bulk: false
        }
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
