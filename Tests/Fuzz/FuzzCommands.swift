// Fuzz target for the client protocol's JSON, both directions. Called by the mutation driver and by the unit tests with
// arbitrary bytes; stops the process by `precondition` when an invariant breaks: what is accepted can be encoded again
// and then means the same, values that are passed on fit into one line and are still valid, and the scratch buffer
// never holds more than the line had.

import Bytes
import Wire

/// Reads `bytes` as a client's frame and as a server's frame.
package func fuzzCommands(_ bytes: UnsafeRawBufferPointer) {
    // A copy that ends where its allocation ends, so that a sanitizer sees every read behind it.
    let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
    defer { copy.deallocate() }
    copy.copyMemory(from: bytes)
    let frame = UnsafeRawBufferPointer(copy)
    var scratch = ByteBuffer()
    var lines = LineSplitter(frame)
    var lineCount = 0
    var lineBytes = 0
    while let line = lines.next() {
        lineCount += 1
        lineBytes += line.count
        checkCommand(line, &scratch)
        checkMessage(line, &scratch)
        checkValue(line, &scratch)
        precondition(scratch.capacity <= max(64, 2 * frame.count), "scratch above the frame")
    }
    precondition(
        lineBytes + lineCount - 1 == frame.count - (frame.last == 10 ? 1 : 0) || frame.count == 0, "bytes lost")
    checkRoomName(frame)
}

private func checkCommand(_ line: UnsafeRawBufferPointer, _ scratch: inout ByteBuffer) {
    guard let command = try? JSONCodec.command(line, scratch: &scratch) else { return }
    precondition(scratch.count <= line.count, "scratch above the line")
    var first = ByteBuffer()
    JSONCodec.append(command, to: &first)
    checkOneLine(first.bytes)
    walk(command)
    var other = ByteBuffer()
    guard let again = try? JSONCodec.command(first.bytes, scratch: &other) else {
        preconditionFailure("an encoded command is not understood")
    }
    precondition(again.id == command.id, "another id")
    var second = ByteBuffer()
    JSONCodec.append(again, to: &second)
    precondition(first.bytes.elementsEqual(second.bytes), "an encoded command means something else")
    if case .publish(let publish) = command.request, publish.data.count > 0 { checkPublication(publish) }
}

/// What a client publishes must reach another client as it was.
private func checkPublication(_ publish: PublishRequest) {
    var scratch = ByteBuffer()
    var data = ByteBuffer()
    JSONCodec.appendCompact(publish.data, to: &data)
    checkOneLine(data.bytes)
    precondition(JSONCodec.isValue(data.bytes, scratch: &scratch), "compacted data is no value")
    var fields = ByteBuffer()
    JSONCodec.appendFields(of: Publication(data: publish.data), to: &fields)
    var push = ByteBuffer()
    JSONCodec.appendPublicationPush(room: publish.room, fields: fields.bytes, offset: 7, to: &push)
    checkOneLine(push.bytes)
    guard case .push(let room, .publication(let received))? = try? JSONCodec.message(push.bytes, scratch: &scratch)
    else {
        preconditionFailure("a publication cannot be read")
    }
    precondition(room.elementsEqual(publish.room) && received.offset == 7, "another room or offset")
    precondition(received.data.elementsEqual(data.bytes), "other data")
}

/// Every entry either comes out or ends the walk; none is lost to a trap.
private func walk(_ command: Command) {
    guard case .connect(let connect) = command.request else { return }
    var scratch = ByteBuffer()
    var subscriptions = JSONCodec.SubscriptionRequests(connect.subscriptions, limit: 128)
    while let request = try? subscriptions.next(scratch: &scratch) {
        precondition(scratch.count <= connect.subscriptions.count, "scratch above the map")
        _ = RoomName.check(request.room)
    }
    var headers = JSONCodec.StringPairs(connect.headers, limit: 128)
    while (try? headers.next(scratch: &scratch)) != nil {}
}

private func checkMessage(_ line: UnsafeRawBufferPointer, _ scratch: inout ByteBuffer) {
    guard let message = try? JSONCodec.message(line, scratch: &scratch) else { return }
    precondition(scratch.count <= line.count, "scratch above the line")
    var first = ByteBuffer()
    encode(message, to: &first)
    checkOneLine(first.bytes)
    var other = ByteBuffer()
    guard !first.isEmpty else { return }
    guard let again = try? JSONCodec.message(first.bytes, scratch: &other) else {
        preconditionFailure("an encoded message is not understood")
    }
    var second = ByteBuffer()
    encode(again, to: &second)
    precondition(first.bytes.elementsEqual(second.bytes), "an encoded message means something else")
}

private func encode(_ message: ServerMessage, to out: inout ByteBuffer) {
    switch message {
    case .ping: JSONCodec.appendPing(to: &out)
    case .reply(let id, let reply): JSONCodec.append(reply, id: id, to: &out)
    case .push(let room, let push): JSONCodec.append(push, room: room, to: &out)
    case .unknownPush: break
    }
}

private func checkValue(_ line: UnsafeRawBufferPointer, _ scratch: inout ByteBuffer) {
    guard JSONCodec.isValue(line, scratch: &scratch) else { return }
    var compact = ByteBuffer()
    JSONCodec.appendCompact(line, to: &compact)
    checkOneLine(compact.bytes)
    precondition(JSONCodec.isValue(compact.bytes, scratch: &scratch), "compacted data is no value")
}

private func checkOneLine(_ bytes: UnsafeRawBufferPointer) {
    precondition(!bytes.contains { $0 == 10 || $0 == 13 }, "a line break inside a message")
}

private func checkRoomName(_ name: UnsafeRawBufferPointer) {
    guard RoomName.check(name) == .valid else { return }
    precondition(name.count > 0 && name.count <= 255 && name.allSatisfy { (0x20...0x7E).contains($0) })
    precondition(RoomName.namespace(of: name).count < name.count)
    precondition(RoomName.isUserLimited(name) == name.contains(UInt8(ascii: "#")))
}
