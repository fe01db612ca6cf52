// The slash commands as the help text shows them; the list itself belongs to the terminal library.

import ChatTerminal

enum ChatManual {
    static var commands: String { ChatCommand.helpLines.map { "  " + $0 }.joined(separator: "\n") }
}
