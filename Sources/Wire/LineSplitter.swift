// Cuts a text frame into its commands or messages: one a line. Called on the loop with each received frame, both sides.
//
// One line break at the end of the frame is ignored, since some encoders end every line with one. Any other blank line
// comes out as an empty slice, which the parsers refuse; so does a frame without any byte. Bounded by the frame.

/// The lines of a frame, one after the other.
package struct LineSplitter {
    private let frame: WireBytes
    private var position = 0
    private var isDone = false

    /// The lines of `frame`, which must outlive this value.
    package init(_ frame: WireBytes) { self.frame = frame }

    /// The next line without its line break, or nil at the end of the frame.
    package mutating func next() -> WireBytes? {
        guard !isDone else { return nil }
        guard let base = frame.baseAddress, position < frame.count else {
            isDone = true
            return .empty
        }
        let start = position
        let newline = UInt8(ascii: "\n")
        let end = ByteScan.either(newline, or: newline, base, start, frame.count)
        position = end + 1
        isDone = position >= frame.count
        return WireBytes(start: base + start, count: end - start)
    }
}
