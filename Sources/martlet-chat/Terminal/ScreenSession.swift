// The full-screen client as one value: bytes from the terminal and events from the network in, actions for the shell
// and bytes for the terminal out. No I/O and no clock; the shell hands in the local time and asks for a frame when it
// has fed everything that was there.

/// A full-screen chat.
package struct ScreenSession: Sendable {
    /// What is on the screen.
    package private(set) var model: ChatModel
    /// The line being typed.
    package private(set) var editor = LineEditor()
    private var decoder = KeyDecoder()
    private var renderer = ScreenRenderer()
    private var size: TerminalSize
    private let usesColor: Bool
    private var published = 0

    /// A session for `user` on a terminal of `size`.
    package init(user: String, size: TerminalSize, usesColor: Bool) {
        model = ChatModel(user: user)
        self.size = size
        self.usesColor = usesColor
    }

    private var layout: ScreenLayout {
        ScreenLayout(size: size, usesColor: usesColor, wantsMembers: model.showsMembers)
    }

    /// Whether a lone ESC waits; after a moment the shell calls `flushKeys`.
    package var isWaitingForKey: Bool { decoder.isWaiting }

    /// Opens `room` (from the command line) without joining it: the shell joins all rooms itself.
    package mutating func open(_ room: String) -> Bool { model.open(room) }

    /// Takes bytes that the user typed at `time`.
    package mutating func feed(_ bytes: some Sequence<UInt8>, at time: LocalTime) -> [ChatAction] {
        var actions: [ChatAction] = []
        for key in decoder.feed(bytes) { press(key, time, &actions) }
        return actions + takeWishes()
    }

    /// Nothing followed an ESC.
    package mutating func flushKeys(at time: LocalTime) -> [ChatAction] {
        var actions: [ChatAction] = []
        for key in decoder.flush() { press(key, time, &actions) }
        return actions + takeWishes()
    }

    /// Takes note of an event.
    package mutating func receive(_ event: ChatEvent, at time: LocalTime) {
        keepingView { $0.model.receive(event, at: time) }
    }

    /// Takes the answer to `ChatAction.roster`.
    package mutating func take(_ answer: RosterAnswer, of room: String, at time: LocalTime) {
        keepingView { $0.model.take(answer, of: room, at: time) }
    }

    /// It is so many milliseconds since some start; called before everything else that may depend on it.
    package mutating func advance(to milliseconds: Int64) { model.advance(to: milliseconds) }

    /// When the screen changes, or has a wish, just because time passes, as `advance` counts it.
    package var nextTick: Int64? { model.nextTick }

    /// What the screen itself wants after an event, or as time passes: the list that it shows.
    package mutating func takeWishes() -> [ChatAction] {
        guard layout.showsMembers, let room = model.beginRoster() else { return [] }
        return [.roster(room: room)]
    }

    /// The terminal has another size.
    package mutating func resize(_ size: TerminalSize) {
        guard size != self.size else { return }
        reshaping { $0.size = size }
    }

    /// The terminal shows something else (after Ctrl-Z): draw everything next time.
    package mutating func invalidate() { renderer.invalidate() }

    /// The bytes that bring the terminal up to date.
    package mutating func render() -> [UInt8] { renderer.draw(layout.frame(model, editor), size: size) }

    /// The frame that `render` would draw; for tests.
    package var frame: Frame { layout.frame(model, editor) }

    // MARK: Keys

    private mutating func press(_ key: Key, _ time: LocalTime, _ actions: inout [ChatAction]) {
        switch key {
        case .pageUp: scroll(by: max(layout.messageRows(model) - 1, 1))
        case .pageDown: scroll(by: -max(layout.messageRows(model) - 1, 1))
        case .alt(let digit) where ("1"..."9").contains(digit): model.show(Int(digit.value) - 0x31)
        case .control("l"): renderer.invalidate()
        case .function(2): reshaping { $0.model.toggleMembers() }
        case .escape where model.isWaiting: if let room = model.current?.name { actions.append(.cancel(room: room)) }
        case .enter where isFull: actions.append(.beep)
        case .control("z"): actions.append(.suspend)
        case .control("d") where editor.text.isEmpty: actions.append(.quit)
        case .control("c"):
            if editor.text.isEmpty { actions.append(.quit) } else { editor.clear() }
        default:
            let model = model
            let outcome = editor.handle(key) { line in
                Completion.find(
                    line: line, people: model.current?.names ?? [], rooms: model.rooms.map(\.name))
            }
            switch outcome {
            case .submitted(let line): submit(line, time, &actions)
            case .refused: actions.append(.beep)
            case .edited, .ignored: break
            }
        }
    }

    private mutating func submit(_ line: String, _ time: LocalTime, _ actions: inout [ChatAction]) {
        let command = ChatCommand(line: line)
        let here = model.current?.name
        switch command {
        case .nothing: break
        case .help: for line in ChatCommand.helpLines { note(line, time) }
        case .mistake(let why): note(why, time)
        case .ping: actions.append(.ping)
        case .reconnect: actions.append(.reconnect)
        case .quit: actions.append(.quit)
        case .join(let room): join(room, time, &actions)
        case .message(let room, let text): publish(text, in: room, &actions)
        case .part(let room):
            guard let room = room ?? here, model.index(of: room) != nil else {
                return note("you are in no such room", time)
            }
            model.forget(room)
            actions.append(.part(room: room))
        case .who(let room?): actions.append(.who(room: room))
        case .members:
            reshaping { $0.model.toggleMembers() }
            if model.showsMembers, !layout.showsMembers {
                note("the list needs \(ScreenLayout.membersFromColumns) columns; /who tells as well", time)
            }
        case .cancel:
            guard let current = model.current, !current.outgoing.isEmpty else { return note("nothing waits", time) }
            actions.append(.cancel(room: current.name))
        case .say, .who(nil), .history:
            guard let here else { return note("join a room first: /join lobby", time) }
            model.withShown { $0.scroll = 0 }
            if case .say(let text) = command { return publish(text, in: here, &actions) }
            actions.append(command == .history ? .history(room: here) : .who(room: here))
        }
    }

    /// Whether the line that was typed has to stay where it is: too many messages wait in this room already.
    private var isFull: Bool {
        guard let current = model.current, current.outgoing.count >= ChatRoom.waitingLimit else { return false }
        if case .say = ChatCommand(line: editor.text) { return true }
        return false
    }

    private mutating func join(_ room: String, _ time: LocalTime, _ actions: inout [ChatAction]) {
        let isNew = model.index(of: room) == nil
        guard model.open(room) else {
            return note("\(ChatModel.roomsLimit) rooms are open; /part one first", time)
        }
        if isNew || model.current?.isJoined == false { actions.append(.join(room: room)) }
    }

    private mutating func publish(_ text: String, in room: String, _ actions: inout [ChatAction]) {
        published += 1
        model.sends(text, in: room, number: published)
        actions.append(.publish(room: room, text: text, number: published))
    }

    private mutating func note(_ text: String, _ time: LocalTime) {
        keepingView { $0.model.receive(.note(text), at: time) }
    }

    // MARK: Scrolling

    private mutating func scroll(by rows: Int) {
        let most = max(layout.rowCount(model.shown, after: -1) - layout.messageRows(model), 0)
        model.withShown { $0.scroll = min(max($0.scroll + rows, 0), most) }
    }

    /// Lets `body` add entries; a view that was scrolled back keeps showing the same rows.
    private mutating func keepingView(_ body: (inout ScreenSession) -> Void) {
        let (name, scroll, last) = (model.shown.name, model.shown.scroll, model.shown.entries.last?.number)
        guard scroll > 0, let last else { return body(&self) }
        // The last entry may grow, or go: a line of joins and leaves does.
        let before = layout.rowCount(model.shown, after: last - 1)
        body(&self)
        guard model.shown.name == name else { return }
        let added = layout.rowCount(model.shown, after: last - 1) - before
        model.withShown { $0.scroll = max($0.scroll + added, 0) }
    }

    /// Lets `body` change the shape of the screen; a view that was scrolled back keeps its lowest entry.
    private mutating func reshaping(_ body: (inout ScreenSession) -> Void) {
        let anchor = anchor(of: model.shown)
        body(&self)
        guard let anchor else { return }
        let rows = layout.rowCount(model.shown, after: anchor)
        model.withShown { $0.scroll = rows }
    }

    /// The number of the lowest entry that is visible; nil at the bottom of the room.
    private func anchor(of room: ChatRoom) -> Int? {
        guard room.scroll > 0 else { return nil }
        var rows = 0
        for index in room.entries.indices.reversed() {
            rows += layout.rows(of: room, at: index).count
            if rows > room.scroll { return room.entries[index].number }
        }
        return room.entries.first?.number
    }
}
