// What a chaos proxy knows of Redis: which connections have subscribed, and where their messages begin and end, so that
// whole messages can vanish as if the network or Redis had lost them. Bounded by RESPFrames; what it cannot parse it
// passes on.

import Bytes
import Reactor

extension ChaosProxy {
    /// A link whose first command is SUBSCRIBE carries messages; one that publishes or runs scripts carries commands.
    func classify(_ link: ProxyLink, _ piece: UnsafeRawBufferPointer) {
        guard !link.channels[0].isOpaque else { return }
        link.channels[0].partial += piece
        while !link.channels[0].partial.isEmpty, link.kind == .other {
            var used = 0
            link.channels[0].partial.withUnsafeBytes { bytes in
                switch RESPFrames.extent(bytes) {
                case .needMore: return
                case .broken: used = -1
                case .length(let length):
                    used = length
                    let value = UnsafeRawBufferPointer(rebasing: bytes[..<length])
                    guard let words = RESPFrames.bulks(value), let name = words.first else { return }
                    if RESPFrames.equals(value, name, "SUBSCRIBE") || RESPFrames.equals(value, name, "SSUBSCRIBE") {
                        link.kind = .subscriptions
                    } else if !ChaosProxy.isSetup(value, name) {
                        link.kind = .commands
                    }
                }
            }
            if used < 0 { link.channels[0].isOpaque = true }
            guard used > 0 else { return }
            link.channels[0].partial.removeFirst(used)
        }
        if link.kind != .other { link.channels[0].partial = [] }
    }

    private static func isSetup(_ value: UnsafeRawBufferPointer, _ name: Range<Int>) -> Bool {
        let setup: [StaticString] = ["AUTH", "HELLO", "SELECT", "CLIENT", "PING", "INFO", "ROLE"]
        return setup.contains { RESPFrames.equals(value, name, $0) }
    }

    /// What is left of a piece of a pub/sub link when messages have been taken out.
    func filter(_ link: ProxyLink, _ piece: UnsafeRawBufferPointer) -> [UInt8] {
        let rule = rule(link, .down)
        if link.channels[1].isOpaque { return Array(piece) }
        var bytes = link.channels[1].partial
        bytes += piece
        var kept: [UInt8] = []
        var at = 0
        bytes.withUnsafeBytes { all in
            while at < all.count {
                let rest = UnsafeRawBufferPointer(rebasing: all[at...])
                switch RESPFrames.extent(rest) {
                case .needMore: return
                case .broken:
                    link.channels[1].isOpaque = true
                    kept += rest
                    at = all.count
                case .length(let length):
                    let value = UnsafeRawBufferPointer(rebasing: rest[..<length])
                    if !shouldDrop(value, rule) { kept += value }
                    at += length
                }
            }
        }
        link.channels[1].partial = Array(bytes[at...])
        return kept
    }

    private func shouldDrop(_ value: UnsafeRawBufferPointer, _ rule: LinkRule) -> Bool {
        guard let words = RESPFrames.bulks(value), words.count == 3, RESPFrames.equals(value, words[0], "MESSAGE")
        else { return false }
        figures.messages += 1
        guard rule.dropMessagesPer10000 > 0 else { return false }
        // Rooms carry their name in braces.
        if rule.sparesOwnChannel, !value[words[1]].contains(UInt8(ascii: "{")) { return false }
        guard Int.random(in: 0..<10_000, using: &random) < rule.dropMessagesPer10000 else { return false }
        figures.droppedMessages += 1
        return true
    }
}
