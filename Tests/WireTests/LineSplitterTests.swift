// Frames of several lines.

import Testing
import Wire

@Suite struct LineSplitterTests {
    private func lines(_ frame: String) -> [String] {
        var splitter = LineSplitter(lasting(frame))
        var found: [String] = []
        while let line = splitter.next() { found.append(text(line)) }
        return found
    }

    @Test("one line break at the end is ignored, every other blank line comes out")
    func table() {
        #expect(lines("a") == ["a"])
        #expect(lines("a\n") == ["a"])
        #expect(lines("a\nb") == ["a", "b"])
        #expect(lines("a\r\nb\r\n") == ["a\r", "b\r"])
        #expect(lines("a\n\nb") == ["a", "", "b"])
        #expect(lines("a\n\n") == ["a", ""])
        #expect(lines("\na") == ["", "a"])
        #expect(lines("\n") == [""])
        #expect(lines("") == [""])
        let long = String(repeating: "x", count: 100)
        #expect(lines(long + "\n" + long) == [long, long])
    }

    @Test("a blank line is no command")
    func blank() {
        #expect(reencoded("") == "blankLine")
        #expect(reencoded("\r") == "blankLine")
    }
}
