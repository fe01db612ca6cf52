// The command line of martlet-chat: flags, and the help that teaches its use. Parsed once; nothing else reads argv.

import ArgumentParser
import ChatTerminal

struct ChatOptions: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "martlet-chat")

    static let defaultURL = "ws://127.0.0.1:8000/connection/websocket"

    @Argument(help: "The gateway's WebSocket endpoint, or those of one cluster with commas (default: \(defaultURL)).")
    var endpoint: String?

    @Option(help: "The same as an option; may be repeated.")
    var url: [String] = []

    @Option(name: [.short, .long], help: "Who you are, where the gateway takes your word for it (default: $USER).")
    var user: String?

    @Option(name: [.short, .long], help: "A room to enter; may be repeated (default: lobby).")
    var room: [String] = []

    @Option(help: "A connection token (default: $MARTLET_TOKEN, which does not show in the process list).")
    var token: String?

    @Flag(help: "One JSON object a line instead of text for people.")
    var json = false

    @Flag(help: "Lines instead of the full screen, also on a terminal.")
    var plain = false

    @Flag(help: "No colours (the same as setting NO_COLOR).")
    var noColor = false

    @Flag(help: "Stay and listen after the end of the input (line modes).")
    var listen = false

    @Flag(help: "Print who is in each --room, and end (lines or --json).")
    var who = false

    @Flag(help: "Do not ask who comes and goes.")
    var noJoins = false

    @Option(help: "Seconds to wait for the first connection in the line modes; 0 waits for ever.")
    var connectTimeout: UInt16 = 10

    @Option(help: "Seconds for which a message is repeated while no gateway keeps it; 0: not at all, 240 at most.")
    var retryFor: UInt16 = 30

    @Flag(help: "Print the version.")
    var version = false

    /// All endpoints, each once.
    var urls: [String] {
        let named = [endpoint].compactMap(\.self) + url
        var seen: Set<String> = []
        return (named.isEmpty ? [Self.defaultURL] : named)
            .flatMap { $0.split(separator: ",", omittingEmptySubsequences: false) }.map(String.init)
            .filter { seen.insert($0).inserted }
    }

    mutating func validate() throws {
        if who, listen { throw ValidationError("--who prints and ends; it cannot --listen") }
        if retryFor > Self.longestRetry {
            throw ValidationError(
                "--retry-for is \(Self.longestRetry) at most: gateways know a repeated message again for 5 minutes")
        }
    }

    private static let longestRetry: UInt16 = 240

    /// The help text, with what the generated list of flags cannot say.
    static let manual = """
        Talk in the rooms of a Martlet gateway.

        On a terminal it opens a full screen; Ctrl-D or /quit leaves.
          martlet-chat --user ada --room lobby --room dev

        In a pipe each line of the input is a message (or a slash command), each event a line of the output. What is
        said goes to the first --room, until /join names another:
          echo "deployed" | martlet-chat --user ci --room ops
          tail -f app.log | martlet-chat --json --room logs
          martlet-chat --json --listen --room ops < /dev/null

        Who is there, once; the room is entered only if it tells nobody else:
          martlet-chat --who --json --room lobby < /dev/null

        With several gateways of one cluster it begins at a random one and goes on to the next one when a connection is
        lost or cannot be made. In rooms that keep history nothing is missed on the way and nothing is shown twice:
          martlet-chat --url ws://chat1:8000/connection/websocket --url ws://chat2:8000/connection/websocket

        SCREEN
          Enter send · Up/Down history · Tab complete names and commands · PgUp/PgDn scroll · Alt-1..9 rooms
          F2 member list (from 60 columns on) · Esc drop what waits
          Ctrl-A/E begin/end · Ctrl-W/U/K delete · Ctrl-Y put back · Ctrl-L redraw · Ctrl-Z suspend · Ctrl-C clear, quit

        COMMANDS
        \(ChatCommand.helpLines.map { "  " + $0 }.joined(separator: "\n"))

        JSON EVENTS (one object a line; fields with ? are absent where there is nothing to say)
          {"event":"connecting","url"}
          {"event":"connected","client","server"}
          {"event":"joined","room","continuity","recovered"?,"offset"?,"epoch"?}
                                   continuity: fresh, recovered (as many messages as "recovered" says follow) or lost
                                   (some messages may be missing: load what you show anew)
          {"event":"left","room","code","reason"}    code 0: your own wish
          {"event":"message","room","user","client","text"?,"data","offset"?}
          {"event":"member_joined","room","user","client","info"?}   somebody came; also yourself
          {"event":"member_left","room","user","client","info"?}     where users are tracked, only a user's first
                                   connection comes and only the last one leaves
          {"event":"members","room","clients"?,"users"?,"cut","members":[{"user","client","info"?}]}   answers /who;
                                   "cut": there are more than these (10,000 at most are listed)
          {"event":"limited","room","number","retry_after_ms","waits"}   slow mode: with "waits" true the message is
                                   sent then, else it has failed
          {"event":"dropped","room","number"}         /cancel took the message back
          {"event":"published","room","number","offset"?,"epoch"?}  the gateway keeps your message; number counts from 1
          {"event":"error","command","reason","code","room"?,"number"?}
          {"event":"latency","milliseconds"}
          {"event":"disconnected","code","reason","retry_ms"?}  without retry_ms it is final
          {"event":"note","text"}
          A message is published as {"text":"..."}; "data" is whatever JSON was published.

        It reconnects by itself and enters its rooms again. A message that was not answered, or that the gateway cannot
        keep for the moment (100, 120), is repeated with the same key for --retry-for seconds, so that it is published
        once; those behind it in the same room wait. Where a room takes no more for now (111, slow mode), the message
        and those behind it wait as long as the gateway says, up to 10 minutes each; with --retry-for 0 not at all. In a
        room without history what was said during an outage is lost.
        At the end of the input it waits until everything is answered.

        EXIT CODES
          0 done · 1 failed (a message was refused) · 2 wrong usage · 3 not admitted · 4 network
        """
}
