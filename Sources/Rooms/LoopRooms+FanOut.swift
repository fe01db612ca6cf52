// Fan-out: from a publication's frame to the members of this loop.
// Runs on the loop at the end of each iteration; bounded by `fanOutBudget` deliveries an iteration.

import Bytes

extension LoopRooms {
    /// Adds a wire frame to what the room's members here get at the end of this iteration.
    func deliver(_ number: UInt32, _ frame: UnsafeRawBufferPointer, publications: Int = 1) {
        let room = room(number)
        guard room.pointee.count > 0 else { return }
        if room.pointee.batch.count + frame.count > rules.batchBytes, !room.pointee.batch.isEmpty { seal(number, room) }
        if room.pointee.batch.isEmpty { room.pointee.batchSince = outlet.now }
        room.pointee.batch.append(frame)
        room.pointee.batchedMessages += publications
        guard !room.pointee.isDirty else { return }
        room.pointee.isDirty = true
        dirtyRooms.append(number)
    }

    /// Sends off what the iteration gathered, at most `fanOutBudget` deliveries; true when some are left.
    package func beforeFlush() -> Bool {
        guard !dirtyRooms.isEmpty else { return false }
        var budget = rules.fanOutBudget
        var unfinished: [UInt32] = []
        // Rooms take turns: one that was cut off goes behind those that wait.
        for (index, number) in dirtyRooms.enumerated() {
            guard budget > 0 else {
                unfinished = Array(dirtyRooms[index...]) + unfinished
                break
            }
            let room = room(number)
            serve(room, &budget)
            if room.pointee.broadcast == nil, room.pointee.batch.isEmpty {
                room.pointee.isDirty = false
            } else {
                unfinished.append(number)
            }
        }
        dirtyRooms.removeAll(keepingCapacity: true)
        dirtyRooms.append(contentsOf: unfinished)
        return !dirtyRooms.isEmpty
    }

    /// Makes the batch a broadcast of its own, so that whoever joins next does not get it. A broadcast that is still
    /// being handed out is finished first, over budget if need be: order is worth more than the slice.
    func seal(_ number: UInt32, _ room: UnsafeMutablePointer<LocalRoom>) {
        guard !room.pointee.batch.isEmpty else { return }
        var unlimited = Int.max
        if room.pointee.broadcast != nil { handOut(room, &unlimited) }
        beginBroadcast(room)
    }

    private func serve(_ room: UnsafeMutablePointer<LocalRoom>, _ budget: inout Int) {
        if room.pointee.broadcast != nil { handOut(room, &budget) }
        guard budget > 0, room.pointee.broadcast == nil, !room.pointee.batch.isEmpty else { return }
        beginBroadcast(room)
        handOut(room, &budget)
    }

    private func beginBroadcast(_ room: UnsafeMutablePointer<LocalRoom>) {
        if room.pointee.count > 0 {
            room.pointee.begin(
                outlet.makeBroadcast(
                    room.pointee.batch.bytes, messages: room.pointee.batchedMessages, since: room.pointee.batchSince))
        }
        room.pointee.batch.removeAll(keepingAtMost: 4096)
        room.pointee.batchedMessages = 0
    }

    private func handOut(_ room: UnsafeMutablePointer<LocalRoom>, _ budget: inout Int) {
        guard let broadcast = room.pointee.broadcast else { return }
        let members = room.pointee.slice(budget)
        budget -= members.count
        outlet.fanOut(broadcast, to: members)
        if room.pointee.cursor == 0, let ended = room.pointee.end() { outlet.release(ended) }
    }
}
