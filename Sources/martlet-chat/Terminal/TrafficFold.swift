// Joins and leaves that come within a moment, as one line of the timeline. Owned by `ChatRoom`; pure.
//
// Bounded by `namesLimit`: of more only the number is kept.

/// Who came and went within a moment.
struct TrafficFold: Sendable {
    /// A line takes in what comes for so long, in milliseconds; then the next one begins.
    static let window: Int64 = 5000
    /// Names that are remembered on each side.
    static let namesLimit = 100
    /// Names that are written out.
    private static let shownLimit = 2

    /// When the line began.
    let begin: Int64
    private var joined = Side()
    private var left = Side()

    private struct Side {
        var names: [ShownText] = []
        var more = 0

        var isEmpty: Bool { names.isEmpty && more == 0 }

        mutating func add(_ name: ShownText) {
            if names.count < TrafficFold.namesLimit { names.append(name) } else { more += 1 }
        }

        mutating func remove(_ name: ShownText) -> Bool {
            guard let index = names.firstIndex(of: name) else { return false }
            names.remove(at: index)
            return true
        }

        func sentence(_ arrow: String, _ verb: String) -> String {
            let shown = names.prefix(TrafficFold.shownLimit).map(\.string)
            let rest = names.count - shown.count + more
            let who = rest > 0 ? shown.joined(separator: ", ") + " and \(rest) more" : shown.joined(separator: " and ")
            return "\(arrow) \(who) \(verb)"
        }
    }

    init(begin: Int64) { self.begin = begin }

    /// Whether what happens at `now` still belongs to it.
    func isOpen(at now: Int64) -> Bool { now < begin + Self.window }

    /// Whether all that happened has cancelled out.
    var isEmpty: Bool { joined.isEmpty && left.isEmpty }

    /// Somebody came; whoever left a moment ago has only come back.
    mutating func join(_ name: ShownText) { if !left.remove(name) { joined.add(name) } }

    /// Somebody left.
    mutating func leave(_ name: ShownText) { left.add(name) }

    /// The line.
    var text: ShownText {
        var parts: [String] = []
        if !joined.isEmpty { parts.append(joined.sentence("→", "joined")) }
        if !left.isEmpty { parts.append(left.sentence("←", "left")) }
        return ShownText(parts.joined(separator: " · "))
    }
}
