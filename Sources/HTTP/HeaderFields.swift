// A view of the field lines of a head that a parser has accepted. Nothing is indexed or copied: a look-up walks the
// block, which is at most 16 KiB and is asked about ten times in a connection's life, so that a head costs no memory
// beyond the caller's own buffer. Used by the handshake and the admin routes, on the connection's loop. RFC 9110
// section 5.

/// One field line.
package struct HeaderField {
    /// The name as it was sent; compare it without regard to case.
    package let name: UnsafeRawBufferPointer
    /// Everything between the colon and the CRLF, white space included.
    package let rawValue: UnsafeRawBufferPointer

    /// The value without the white space around it.
    package var value: UnsafeRawBufferPointer { ASCII.trimmed(rawValue) }
}

/// What a head says about a field that may occur once.
package enum SingleField {
    /// No such field.
    case absent
    /// Exactly one.
    case one(HeaderField)
    /// Two or more: an attack or a bug, never a choice to be made.
    case several
}

/// The field lines of an accepted head; valid as long as the buffer that was parsed.
package struct HeaderFields: Sequence {
    /// The lines, each with its CRLF, without the empty line.
    private let block: UnsafeRawBufferPointer

    /// A view of `block`, whose lines a parser has checked.
    init(block: UnsafeRawBufferPointer) { self.block = block }

    /// Walks the lines in the order in which they were sent.
    package struct Iterator: IteratorProtocol {
        fileprivate let block: UnsafeRawBufferPointer
        fileprivate var position = 0

        /// The next field line.
        package mutating func next() -> HeaderField? {
            let start = position
            var colon = start
            while colon < block.count, block[colon] != ASCII.colon { colon += 1 }
            guard colon < block.count else { return nil }
            var end = colon + 1
            while end < block.count, block[end] != ASCII.carriageReturn { end += 1 }
            position = Swift.min(end + 2, block.count)
            return HeaderField(
                name: UnsafeRawBufferPointer(rebasing: block[start..<colon]),
                rawValue: UnsafeRawBufferPointer(rebasing: block[(colon + 1)..<end]))
        }
    }

    /// An iterator at the first line.
    package func makeIterator() -> Iterator { Iterator(block: block) }

    /// The field called `name`, if there is exactly one.
    package func single(_ name: StaticString) -> SingleField {
        var found: HeaderField?
        for field in self where ASCII.equalsIgnoringCase(field.name, name) {
            if found != nil { return .several }
            found = field
        }
        return found.map { .one($0) } ?? .absent
    }

    /// The trimmed value of the first field called `name`.
    package func first(_ name: StaticString) -> UnsafeRawBufferPointer? {
        for field in self where ASCII.equalsIgnoringCase(field.name, name) { return field.value }
        return nil
    }

    /// How many field lines are called `name`.
    package func count(of name: StaticString) -> Int {
        var count = 0
        for field in self where ASCII.equalsIgnoringCase(field.name, name) { count += 1 }
        return count
    }

    /// Hands each non-empty element of the comma-separated lists called `name` to `body`, until that answers false.
    ///
    /// Quoted strings are not understood: a comma inside one splits it. That only ever makes elements that match
    /// nothing. Work is linear in the block.
    package func forEachElement(of name: StaticString, _ body: (UnsafeRawBufferPointer) -> Bool) {
        for field in self where ASCII.equalsIgnoringCase(field.name, name) {
            let list = field.rawValue
            var start = 0
            while start <= list.count {
                var end = start
                while end < list.count, list[end] != ASCII.comma { end += 1 }
                let element = ASCII.trimmed(UnsafeRawBufferPointer(rebasing: list[start..<end]))
                if !element.isEmpty, !body(element) { return }
                start = end + 1
            }
        }
    }

    /// Whether a list field called `name` has the element `token`, compared without regard to case.
    package func contains(token: StaticString, in name: StaticString) -> Bool {
        var found = false
        forEachElement(of: name) { element in
            found = ASCII.equalsIgnoringCase(element, token)
            return !found
        }
        return found
    }
}
