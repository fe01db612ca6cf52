// One loop's permessage-deflate: a stream that inflates, one that deflates for each class of window, and the deflated
// forms of the broadcasts that are being handed out. Used by the loop's shell and client handler, on the loop only. A
// connection costs one byte in its driver. Bounded by: about 210 KB of streams a loop, the kept buffers of each stream,
// and two forms of each broadcast, as long as that lives.

import Bytes
import Reactor
import WebSocket

/// The compression of one loop; there is none where `client.compression` is off.
final class LoopCompression {
    /// Messages below this many bytes are sent as they are: what they would save is less than it costs.
    static let minimumBytes = 128

    private let inflater: UnsafeMutablePointer<Inflater>
    private let wide: UnsafeMutablePointer<Deflater>
    private let narrow: UnsafeMutablePointer<Deflater>
    /// Connections that negotiated it; while there are none, broadcasts go out as if there were no compression.
    private(set) var members = 0
    /// Messages deflated so far.
    private(set) var deflations = 0
    private var forms: [UnsafeMutableRawPointer: Forms] = [:]
    private var block = ByteBuffer()

    private struct Forms {
        var wide: Frame?
        var narrow: Frame?
    }

    /// Makes the streams; throws if zlib is too old or has no memory.
    init() throws(DeflateFailure) {
        let inflater = try Inflater()
        let wide = try Deflater(windowBits: Int(DeflateWindow.wide.rawValue))
        let narrow = try Deflater(windowBits: Int(DeflateWindow.narrow.rawValue))
        self.inflater = .allocate(capacity: 1)
        self.inflater.initialize(to: inflater)
        self.wide = .allocate(capacity: 1)
        self.wide.initialize(to: wide)
        self.narrow = .allocate(capacity: 1)
        self.narrow.initialize(to: narrow)
    }

    deinit {
        inflater.deinitialize(count: 1)
        inflater.deallocate()
        wide.deinitialize(count: 1)
        wide.deallocate()
        narrow.deinitialize(count: 1)
        narrow.deallocate()
    }

    /// Counts a connection in or out.
    func count(_ change: Int) { members += change }

    /// The message that a peer compressed, of at most `limit` bytes; valid until the next call.
    func inflate(_ kind: MessageKind, _ payload: UnsafeMutableRawBufferPointer, limit: Int) -> InflatedMessage {
        inflater.pointee.inflate(kind, payload, limit: limit)
    }

    /// The deflated form of `message`, valid until the next call; nil if it is to be sent as it is.
    func deflate(_ message: UnsafeRawBufferPointer, _ window: DeflateWindow) -> UnsafeRawBufferPointer? {
        guard message.count >= LoopCompression.minimumBytes else { return nil }
        deflations += 1
        switch window {
        case .wide: return wide.pointee.deflate(message)
        case .narrow: return narrow.pointee.deflate(message)
        }
    }

    // MARK: Broadcasts

    /// The form of a broadcast for one class: made by the first member that needs it, shared by all others until
    /// `forget`. `make` copies bytes into a block of the loop.
    func form(
        of plain: Frame, _ window: DeflateWindow, make: (UnsafeRawBufferPointer) -> Frame
    ) -> Frame {
        let known = forms[plain.handle]
        if let form = window == .wide ? known?.wide : known?.narrow { return form }
        let form: Frame
        if assemble(plain.bytes, window) {
            form = make(block.bytes)
        } else {
            plain.retain()
            form = plain
        }
        block.removeAll(keepingAtMost: Deflater.keptBytes)
        switch window {
        case .wide: forms[plain.handle, default: Forms()].wide = form
        case .narrow: forms[plain.handle, default: Forms()].narrow = form
        }
        return form
    }

    /// The broadcast was handed out to all: its forms are given back by `release`.
    func forget(_ plain: Frame, release: (Frame) -> Void) {
        guard !forms.isEmpty, let known = forms.removeValue(forKey: plain.handle) else { return }
        if let form = known.wide { release(form) }
        if let form = known.narrow { release(form) }
    }

    /// Writes the frames of `frames`, deflated where that makes them shorter, to `block`; false if none of them was.
    private func assemble(_ frames: UnsafeRawBufferPointer, _ window: DeflateWindow) -> Bool {
        block.removeAll()
        var shortened = false
        var position = 0
        while position < frames.count {
            let end = FrameBoundary.end(in: frames, at: position)
            let frame = UnsafeRawBufferPointer(rebasing: frames[position..<end])
            position = end
            if let payload = FrameBoundary.textPayload(frame), let packed = deflate(payload, window) {
                block.appendFrame(.text, packed, compressed: true)
                shortened = true
            } else {
                block.append(frame)
            }
        }
        return shortened
    }
}
