// Fuzz target for the RESP guard, hiredis' reader behind it, both kinds of link and what travels in rooms' channels.
// Called by the mutation driver and by the unit tests with arbitrary bytes; stops the process by `precondition` when an
// invariant breaks: the same bytes give the same replies however they are cut, and whatever the guard lets pass the
// reader accepts.

import Bytes
package import Redis

/// A reply with its own copy of everything.
package indirect enum RecordedReply: Equatable, Sendable {
    case null
    case status([UInt8])
    case error([UInt8])
    case integer(Int64)
    case bulk([UInt8])
    case array([RecordedReply])

    /// Copies `reply`, asking every accessor, also those that do not fit its kind.
    package init(_ reply: RedisReply) {
        precondition(reply[-1] == nil && reply[reply.count] == nil, "an element outside the array")
        precondition(reply.kind == .integer || reply.integer == nil, "a number that is none")
        precondition(reply.kind == .array || reply.count == 0, "elements of what is no array")
        precondition((reply.error != nil) == (reply.kind == .error), "an error that is none")
        switch reply.kind {
        case .null: self = .null
        case .status: self = .status(Array(reply.bytes))
        case .error: self = .error(Array(reply.bytes))
        case .bulk: self = .bulk(Array(reply.bytes))
        case .integer: self = .integer(reply.integer ?? 0)
        case .array: self = .array((0..<reply.count).compactMap { reply[$0].map(RecordedReply.init) })
        }
    }
}

/// What a stream of bytes was read as.
package struct RecordedReplies: Equatable, Sendable {
    package var replies: [RecordedReply] = []
    package var fault: RESPFault?
}

/// Bounds that small inputs can reach.
package let fuzzRESPLimits: RESPLimits = {
    var limits = RESPLimits()
    limits.lineBytes = 64
    limits.bulkBytes = 512
    limits.elements = 64
    limits.replyBytes = 2048
    return limits
}()

/// Reads `bytes` in pieces of the sizes that `sizes` gives, each in memory of its own.
package func recordReplies(
    _ bytes: [UInt8], limits: RESPLimits = RESPLimits(), sizes: () -> Int
) -> RecordedReplies {
    var reader = ReplyReader(limits: limits)
    var record = RecordedReplies()
    var start = 0
    while start < bytes.count {
        let end = min(bytes.count, start + max(1, sizes()))
        let piece = UnsafeMutableRawBufferPointer.allocate(byteCount: end - start, alignment: 1)
        piece.copyBytes(from: bytes[start..<end])
        reader.feed(UnsafeRawBufferPointer(piece))
        piece.deallocate()
        while let reply = reader.next() { record.replies.append(RecordedReply(reply)) }
        start = end
    }
    record.fault = reader.fault
    precondition(record.fault != .reader, "the reader refuses what the guard let pass")
    return record
}

/// Reads `bytes` whole, byte by byte and in uneven pieces; then as what a Redis says to the links.
package func fuzzRESP(_ bytes: UnsafeRawBufferPointer) {
    let stream = Array(bytes.prefix(20_000))
    let whole = recordReplies(stream, limits: fuzzRESPLimits) { .max / 2 }
    precondition(whole == recordReplies(stream, limits: fuzzRESPLimits) { 1 }, "byte by byte differs")
    var size = 1
    let pieces = recordReplies(stream, limits: fuzzRESPLimits) {
        size = (size * 7 + 3) % 61 + 1
        return size
    }
    precondition(whole == pieces, "uneven pieces differ")
    fuzzLinks(stream)
    fuzzMembers(bytes)
    if let envelope = try? PublicationEnvelope(parsing: bytes) {
        var header = ByteBuffer()
        PublicationEnvelope.appendHeader(offset: envelope.offset, epoch: envelope.epoch, to: &header)
        precondition(bytes.starts(with: header.bytes), "an envelope that is written differently")
        precondition(header.count + envelope.fields.count == bytes.count, "an envelope of another length")
    }
}

/// Joins and leaves of a channel: each lies inside the message, behind the one before it, and is somebody.
private func fuzzMembers(_ bytes: UnsafeRawBufferPointer) {
    guard let base = bytes.baseAddress, var envelope = MemberEnvelope(bytes) else { return }
    var end = 2
    while let entry = envelope.next() {
        precondition(!entry.client.isEmpty && !entry.info.isEmpty, "a member without a client or an info")
        for part in [entry.client, entry.user, entry.info] {
            guard let start = part.baseAddress.map({ $0 - base }) else { continue }
            precondition(start >= end && start + part.count <= bytes.count, "outside, or read twice")
            end = start + part.count
        }
    }
    precondition(envelope.isBroken == (end < bytes.count), "what is left over was not noticed")
}

/// A hostile server behind a correct login: every command is answered exactly once, whatever it says.
private func fuzzLinks(_ stream: [UInt8]) {
    let now = MonotonicTime(nanoseconds: 1_000_000_000)
    var commands = CommandLink(settings: LinkSettings())
    commands.open(now: now)
    Array(RedisLogin().replies(for: .commands).joined().utf8).withUnsafeBytes { commands.receive($0, now: now) }
    while commands.next(now: now) != nil {}
    precondition(commands.phase == .ready, "the login failed")
    for tag in 0..<8 {
        let sent = commands.send(CommandTag(UInt64(tag), 0), expecting: .integer, now: now) {
            $0.beginCommand(1)
            $0.appendArgument("X")
        }
        precondition(sent, "a ready link refuses")
    }
    stream.withUnsafeBytes { commands.receive($0, now: now) }
    var expected: UInt64 = 0
    func pull() {
        while let event = commands.next(now: now) {
            guard case .completed(let tag, _, _) = event else { preconditionFailure("ready twice") }
            precondition(tag.first == expected, "an answer out of order")
            expected += 1
        }
    }
    pull()
    commands.fail(.shutdown)
    pull()
    precondition(expected == 8 && commands.commandsInFlight == 0, "commands that nobody answered")

    fuzzSubscriptions(stream, now)
    fuzzLogins(stream, now)
}

/// A hostile server behind a proven subscriber link: each subscription is answered exactly once, and no probe is
/// reported that was not sent.
private func fuzzSubscriptions(_ stream: [UInt8], _ now: MonotonicTime) {
    guard let names = RedisNames(prefix: "p") else { preconditionFailure("a good prefix") }
    var rooms = PubSubLink(settings: LinkSettings(), names: names, ownChannel: Array("p:node:n".utf8))
    rooms.highestProbe = 5
    rooms.open(now: now)
    let login = RedisLogin().replies(for: .subscriptions).joined() + RedisLogin.confirmation("p:node:n")
    Array(login.utf8).withUnsafeBytes { rooms.receive($0, now: now) }
    while rooms.next(now: now) != nil {}
    precondition(rooms.phase == .ready, "the login failed")
    rooms.verify()
    for name in ["a", "b"] { Array(name.utf8).withUnsafeBytes { _ = rooms.subscribe(room: $0) } }
    rooms.writeSubscriptions(now: now)
    stream.withUnsafeBytes { rooms.receive($0, now: now) }
    var open = 2
    func pull() {
        while let event = rooms.next(now: now) {
            switch event {
            case .subscribed, .failed: open -= 1
            case .ready: preconditionFailure("ready twice")
            case .probed(let sequence): precondition(sequence <= 5, "a probe that was not sent")
            case .message(let room, _): precondition(room.count == 1, "a message of another room")
            }
        }
    }
    pull()
    rooms.fail(.shutdown)
    pull()
    precondition(open == 0, "subscriptions that nobody answered")
}

/// A server that says anything to the login: no link is ready without knowing its server's life.
private func fuzzLogins(_ stream: [UInt8], _ now: MonotonicTime) {
    var commands = CommandLink(settings: LinkSettings())
    commands.open(now: now)
    stream.withUnsafeBytes { commands.receive($0, now: now) }
    while commands.next(now: now) != nil {}
    precondition(commands.phase != .ready || commands.life != nil, "a server that nobody knows")
    let half = stream.count / 2
    _ = stream.withUnsafeBytes { bytes in
        RedisLife(
            server: UnsafeRawBufferPointer(rebasing: bytes[..<half]),
            replication: UnsafeRawBufferPointer(rebasing: bytes[half...]))
    }
}

/// Where mutation starts from.
package let fuzzRESPSeeds: [[UInt8]] = [
    "+OK\r\n-ERR x\r\n:-12\r\n$3\r\nabc\r\n$-1\r\n*-1\r\n$0\r\n\r\n*0\r\n",
    ":1\r\n:0\r\n:3\r\n:1\r\n",
    "*2\r\n*3\r\n:1\r\n$1\r\nx\r\n+y\r\n*1\r\n*1\r\n*1\r\n*1\r\n$-1\r\n",
    "*3\r\n$9\r\nsubscribe\r\n$5\r\np:{a}\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$5\r\np:{b}\r\n:2\r\n"
        + "*3\r\n$7\r\nmessage\r\n$5\r\np:{a}\r\n$17\r\n1 0 0\n\"data\":\"hi\"\n\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n",
    "*4294967297\r\n", "*-2\r\n", "$9223372036854775807\r\n", ":9223372036854775808\r\n", "1 0 0\n\"data\":1",
    "1 7 99\n{", "2\n+ 2 3 7\nc1ann{\"a\":1}- 2 0 2\nc2{}", RedisLogin().replies(for: .commands).joined(),
    RedisLogin().server + RedisLogin().information,
    "*3\r\n$7\r\nmessage\r\n$8\r\np:node:n\r\n$1\r\n4\r\n"
        + "*3\r\n$7\r\nmessage\r\n$8\r\np:node:n\r\n$20\r\n18446744073709551615\r\n",
].map { Array($0.utf8) }
