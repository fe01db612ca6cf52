// The rooms of a pub/sub link: name, channel, what is wanted and what the server was told. Found by channel, since that
// is what the server sends. Numbers are stable while an entry lives and used again afterwards.
//
// Bounded by its user: rooms whose home is the loop. Loop-confined; owned by PubSubLink.

import Bytes

/// Bytes as a dictionary's key without an owner: the stored key points into its entry's memory, a key to look up points
/// to wherever the name is. A lookup makes no copy; the hash is the process' seeded SipHash, since peers choose names.
private struct NameKey: Hashable {
    let bytes: UnsafeRawBufferPointer

    static func == (a: NameKey, b: NameKey) -> Bool { a.bytes.elementsEqual(b.bytes) }

    func hash(into hasher: inout Hasher) { hasher.combine(bytes: bytes) }
}

/// One room of a pub/sub link.
struct Subscription {
    /// What the server was told last, and whether it has confirmed.
    enum Phase: UInt8 {
        /// Not subscribed.
        case none
        /// SUBSCRIBE is on its way.
        case subscribing
        /// Subscribed, confirmed.
        case subscribed
        /// UNSUBSCRIBE is on its way.
        case unsubscribing
    }

    fileprivate var memory: UnsafeMutableRawPointer
    fileprivate var channelCount: Int
    fileprivate var roomCount: Int

    var phase = Phase.none
    /// Somebody wants the room's publications.
    var isWanted = false
    /// The `subscribe` in force was answered; from then on the subscription survives the link.
    var isAnswered = false
    /// In the list of rooms for which something may have to be sent.
    var isQueued = false
    /// To be subscribed by a command of its own, since a batch with it was refused.
    var isAlone = false
    /// Was answered before the link was opened and is not back yet.
    var isRestoring = false

    /// Whether publications go to the rooms now.
    var isLive: Bool { phase == .subscribed && isWanted && isAnswered }

    var channel: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: memory, count: channelCount) }
    var room: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: memory + channelCount, count: roomCount) }
}

/// The rooms of a pub/sub link by channel.
struct SubscriptionTable: ~Copyable {
    private var numbers: [NameKey: UInt32] = [:]
    private var entries: [Subscription?] = []
    private var free: [UInt32] = []

    init() {}

    deinit { for case .some(let entry) in entries { entry.memory.deallocate() } }

    /// Number of rooms.
    var count: Int { numbers.count }

    /// Numbers in use lie below this.
    var bound: UInt32 { UInt32(entries.count) }

    /// The number of the room with `channel`, or nil.
    func find(_ channel: UnsafeRawBufferPointer) -> UInt32? { numbers[NameKey(bytes: channel)] }

    /// The entry of `number`, or nil when the number is free.
    subscript(_ number: UInt32) -> Subscription? { Int(number) < entries.count ? entries[Int(number)] : nil }

    /// Changes the entry of `number`, if there is one.
    mutating func update(_ number: UInt32, _ change: (inout Subscription) -> Void) {
        guard Int(number) < entries.count, var entry = entries[Int(number)] else { return }
        change(&entry)
        entries[Int(number)] = entry
    }

    /// Adds a room, which is not there yet, and returns its number.
    mutating func insert(channel: UnsafeRawBufferPointer, room: UnsafeRawBufferPointer) -> UInt32 {
        let memory = UnsafeMutableRawPointer.allocate(byteCount: max(1, channel.count + room.count), alignment: 1)
        if let source = channel.baseAddress { memory.copyMemory(from: source, byteCount: channel.count) }
        if let source = room.baseAddress {
            (memory + channel.count).copyMemory(from: source, byteCount: room.count)
        }
        let entry = Subscription(memory: memory, channelCount: channel.count, roomCount: room.count)
        let number: UInt32
        if let reused = free.popLast() {
            number = reused
            entries[Int(number)] = entry
        } else {
            number = UInt32(entries.count)
            entries.append(entry)
        }
        numbers[NameKey(bytes: entry.channel)] = number
        return number
    }

    /// Forgets the room; its number may be used again.
    mutating func remove(_ number: UInt32) {
        guard let entry = self[number] else { return }
        numbers[NameKey(bytes: entry.channel)] = nil
        entries[Int(number)] = nil
        free.append(number)
        entry.memory.deallocate()
    }
}
