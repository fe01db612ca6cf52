// Commands as RESP arrays of bulk strings: every argument travels behind its own length, so that no byte of a room's
// name can end one command and begin another (RC-05). There is no format string anywhere.
//
// Called by the links on their loop; writes straight into their output. The number of arguments is announced first and
// it is the caller's duty to append as many.

package import Bytes

extension ByteBuffer {
    /// Begins a command of `arguments` arguments, its name included.
    package mutating func beginCommand(_ arguments: Int) {
        precondition(arguments > 0)
        append(UInt8(ascii: "*"))
        append(decimal: UInt64(arguments))
        append("\r\n")
    }

    /// Appends one argument.
    package mutating func appendArgument(_ bytes: UnsafeRawBufferPointer) {
        appendArgumentLength(bytes.count)
        append(bytes)
        append("\r\n")
    }

    /// Appends one argument that the program knows, such as a command's name.
    package mutating func appendArgument(_ literal: StaticString) {
        appendArgumentLength(literal.withUTF8Buffer { $0.count })
        append(literal)
        append("\r\n")
    }

    /// Appends one argument given as text (configuration: user, password, names).
    package mutating func appendArgument(text: String) {
        appendArgumentLength(text.utf8.count)
        append(text: text)
        append("\r\n")
    }

    /// Begins an argument of `length` bytes that the caller appends in parts, followed by `endArgument`.
    package mutating func appendArgumentLength(_ length: Int) {
        precondition(length >= 0)
        append(UInt8(ascii: "$"))
        append(decimal: UInt64(length))
        append("\r\n")
    }

    /// Ends an argument that was appended in parts.
    package mutating func endArgument() { append("\r\n") }
}
