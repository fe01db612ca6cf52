// The immutable bytes of one message on their way between loops: encoded once by the room's home loop, read by all.
// The one authority on bytes that several threads share. Only `let`s: a `var` in a shared class would cost an
// exclusivity check per read.

/// A shared, immutable run of bytes. Any thread may read it; the last reference frees it.
package final class Payload: @unchecked Sendable {
    // Sendable is sound: the memory is written in init only.
    private let base: UnsafeMutableRawPointer
    /// Length in bytes.
    package let count: Int

    /// Copies `bytes`.
    package init(copying bytes: UnsafeRawBufferPointer) {
        base = UnsafeMutableRawPointer.allocate(byteCount: max(bytes.count, 1), alignment: 16)
        count = bytes.count
        if let source = bytes.baseAddress { base.copyMemory(from: source, byteCount: bytes.count) }
    }

    deinit { base.deallocate() }

    /// The bytes; valid as long as this object is.
    package var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }
}
