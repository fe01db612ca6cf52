// Rooms with history at home: loops whose mailbox was full. Such a loop gets nothing of the room until it has room
// again; then it is sent all that it has missed, out of the tail, and nobody there notices. Only where the tail no
// longer has that, its members are told 2500.
//
// Bounded: one entry a loop, however much it missed; nothing is kept for it beside the tail.

import Bytes

extension LoopRooms {
    /// After what time a mailbox that was full is tried again.
    static let catchUpInterval = Duration.milliseconds(20)

    /// A publication found a loop's mailbox full.
    func beginLag(_ number: UInt32, _ stream: HomeStream, _ lag: HomeStream.Lag) {
        stream.lagging.append(lag)
        catchUpLater(number, stream)
    }

    /// A loop's last member has left while it was behind.
    func endLag(_ number: UInt32, _ stream: HomeStream, _ loop: Int, _ local: UInt64) {
        guard let index = stream.lagging.firstIndex(where: { $0.loop == loop && $0.local == local }) else { return }
        stream.lagging.remove(at: index)
        admitLagging(number, stream, loop)
    }

    private func catchUpLater(_ number: UInt32, _ stream: HomeStream) {
        guard !stream.isCatchingUp else { return }
        stream.isCatchingUp = true
        later(LoopRooms.catchUpInterval, number, stream) { rooms, number, stream in
            stream.isCatchingUp = false
            rooms.catchUp(number, stream)
        }
    }

    /// Sends every loop that is behind as much as it takes.
    private func catchUp(_ number: UInt32, _ stream: HomeStream) {
        for loop in stream.lagging.map(\.loop) {
            // What is done for one loop may end another one's lag.
            guard let index = stream.lagging.firstIndex(where: { $0.loop == loop }) else { continue }
            let outcome = resend(number, stream, &stream.lagging[index])
            let lag = stream.lagging[index]
            switch outcome {
            case .full: continue
            case .done: home.forgive(number, loop: lag.loop)
            case .gone:
                outlet.record(.mailboxLoss)
                tell(lag.loop, .behind, (lag.local, 0, 0, 0))
            }
            stream.lagging.remove(at: index)
            admitLagging(number, stream, lag.loop)
        }
        if !stream.lagging.isEmpty { catchUpLater(number, stream) }
    }

    private enum Outcome { case done, full, gone }

    private func resend(_ number: UInt32, _ stream: HomeStream, _ lag: inout HomeStream.Lag) -> Outcome {
        while lag.next <= stream.cursor.delivered {
            guard let fields = stream.tail?.payload(at: lag.next) else { return .gone }
            let position = StreamPosition(offset: lag.next, epoch: stream.cursor.epoch)
            appendPublicationFrame(room: home.names.name(of: number), position: position, fields: fields.bytes)
            let message = LoopMessage(.deliver, (lag.local, 0, 0, 0), object: Payload(copying: pushFrame.bytes))
            guard outlet.post(message, to: lag.loop, urgent: false) else { return .full }
            lag.next += 1
        }
        return .done
    }

    /// Lets those in who waited until their loop had caught up.
    private func admitLagging(_ number: UInt32, _ stream: HomeStream, _ loop: Int) {
        admit(number, stream, all: stream.take { $0.reason == .lag && $0.attendance.loop == loop })
    }
}
