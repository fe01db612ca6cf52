// A line that someone typed, understood: a message or a slash command. Used by the screen and by the line modes, so
// both know the same commands. Pure; the shell carries the actions out.

/// What a typed line asks for.
package enum ChatCommand: Equatable, Sendable {
    /// Say `text` in the current room.
    case say(String)
    /// Say `text` in another room.
    case message(room: String, text: String)
    case join(room: String)
    /// Leave a room; nil is the current one.
    case part(room: String?)
    /// Who is in a room; nil is the current one.
    case who(room: String?)
    /// Take back what waits in the current room.
    case cancel
    /// Show or hide the list of members.
    case members
    case history, ping, reconnect, help, quit
    /// Nothing was typed.
    case nothing
    /// The line cannot be understood; the text says why and what is right.
    case mistake(String)

    /// The commands, in the order of the help text.
    package static let names = [
        "join", "part", "msg", "who", "members", "history", "cancel", "ping", "reconnect", "help", "quit",
    ]

    /// What `/help` answers, line by line.
    package static let helpLines = [
        "/join ROOM        enter a room (or switch to it)",
        "/part [ROOM]      leave this room, or another",
        "/msg ROOM TEXT    say something in another room",
        "/who [ROOM]       who is in this room, or in another",
        "/members          show or hide the list of members (F2)",
        "/history          what was said before",
        "/cancel           take back messages that wait (Esc)",
        "/ping             measure the way to the server and back",
        "/reconnect        drop the connection and make a new one",
        "/help             these lines",
        "/quit             leave",
        "//TEXT            say a line that begins with a slash",
    ]

    /// Understands one line.
    package init(line: String) {
        guard line.hasPrefix("/") else {
            self = line.allSatisfy(\.isWhitespace) ? .nothing : .say(line)
            return
        }
        if line.hasPrefix("//") {
            self = .say(String(line.dropFirst()))
            return
        }
        let (name, rest) = Self.split(line.dropFirst())
        self = Self.command(name.lowercased(), rest)
    }

    private static func command(_ name: String, _ rest: String) -> ChatCommand {
        switch name {
        case "join", "j":
            return rest.isEmpty || rest.contains(" ")
                ? .mistake("/join takes one room: /join lobby") : .join(room: rest)
        case "part", "leave":
            if rest.contains(" ") { return .mistake("/part takes one room, or none for this one") }
            return .part(room: rest.isEmpty ? nil : rest)
        case "msg":
            let (room, text) = split(rest[...])
            return text.isEmpty
                ? .mistake("/msg takes a room and a text: /msg lobby hello") : .message(room: room, text: text)
        case "who", "names":
            if rest.contains(" ") { return .mistake("/who takes one room, or none for this one") }
            return .who(room: rest.isEmpty ? nil : rest)
        case "members": return .members
        case "cancel": return .cancel
        case "history": return .history
        case "ping": return .ping
        case "reconnect": return .reconnect
        case "help", "?": return .help
        case "quit", "exit", "q": return .quit
        default: return .mistake("there is no command /\(name); /help lists them, //\(name) says it as text")
        }
    }

    static func takesRoom(_ head: String) -> Bool { ["/join ", "/part ", "/msg ", "/who "].contains(head) }

    private static func split(_ text: Substring) -> (String, String) {
        let trimmed = text.drop { $0 == " " }
        guard let space = trimmed.firstIndex(of: " ") else { return (String(trimmed), "") }
        var rest = trimmed[space...].drop { $0 == " " }
        while rest.last == " " { rest = rest.dropLast() }
        return (String(trimmed[..<space]), String(rest))
    }
}
