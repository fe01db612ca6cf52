// What is wanted becomes commands: SUBSCRIBE and UNSUBSCRIBE with many names each, so that a resubscription of
// thousands of rooms costs a few writes, and with a bound on what is unconfirmed, so that it cannot overrun the server.

package import Bytes

extension PubSubLink {
    /// Writes the commands for the rooms whose subscription has to change, as far as the limits allow; the rest follows
    /// when confirmations have come. Before `verify` it writes none. Call it once an iteration.
    package mutating func writeSubscriptions(now: MonotonicTime) {
        guard isVerified else { return }
        let room = settings.limits.namesInFlight - unconfirmed.count
        guard room > 0, !queue.isEmpty else { return }
        var subscribing: [UInt32] = []
        var unsubscribing: [UInt32] = []
        for _ in 0..<min(room, queue.count) {
            guard let number = queue.popFirst(), let entry = table[number] else { continue }
            table.update(number) { $0.isQueued = false }
            switch (entry.phase, entry.isWanted) {
            case (.none, true) where entry.isAlone: write(.subscribe, [number], now)
            case (.none, true): subscribing.append(number)
            case (.subscribed, false): unsubscribing.append(number)
            // Changed its mind meanwhile, or waits for a confirmation, which will look again.
            case (.none, false), (.subscribed, true), (.subscribing, _), (.unsubscribing, _): removeIfUnused(number)
            }
        }
        writeInBatches(.subscribe, subscribing, now)
        writeInBatches(.unsubscribe, unsubscribing, now)
    }

    private mutating func writeInBatches(_ kind: Kind, _ numbers: [UInt32], _ now: MonotonicTime) {
        var start = 0
        var bytes = 0
        for index in numbers.indices {
            let length = (table[numbers[index]]?.channel.count ?? 0) + PubSubLink.argumentOverhead
            let isFull = index - start == settings.limits.namesPerCommand
            if index > start, isFull || bytes + length > settings.limits.bytesPerCommand {
                write(kind, numbers[start..<index], now)
                start = index
                bytes = 0
            }
            bytes += length
        }
        if start < numbers.count { write(kind, numbers[start...], now) }
    }

    // `$`, a length of up to four digits, and two line ends.
    private static var argumentOverhead: Int { 9 }

    private mutating func write(_ kind: Kind, _ numbers: ArraySlice<UInt32>, _ now: MonotonicTime) {
        output.beginCommand(numbers.count + 1)
        output.appendArgument(kind == .subscribe ? "SUBSCRIBE" : "UNSUBSCRIBE")
        for number in numbers {
            guard let entry = table[number] else { preconditionFailure("a room that is to be told exists") }
            output.appendArgument(entry.channel)
            table.update(number) { $0.phase = kind == .subscribe ? .subscribing : .unsubscribing }
            unconfirmed.append(number)
        }
        inFlight.append(
            Sent(kind: kind, names: numbers.count, unconfirmed: numbers.count, sentAt: now.nanoseconds))
    }
}
