// Raw JSON values on their own: validation and copying for bytes that did not come inside a command, such as `data` of
// the server API or the claims of a token. Called on any loop; bounded by the value.

package import Bytes

extension JSONCodec {
    /// Whether `bytes` is exactly one JSON value, apart from whitespace around it, that may go into other people's
    /// frames. UTF-8 is not checked here.
    package static func isValue(_ bytes: WireBytes, scratch: inout ByteBuffer) -> Bool {
        do throws(WireError) {
            try scan(bytes, scratch: &scratch) { scanner throws(WireError) in try scanner.skipValue() }
            return true
        } catch {
            return false
        }
    }

    /// Appends a valid JSON value without the line breaks between its tokens, so that it fits into one line.
    package static func appendCompact(_ value: WireBytes, to out: inout ByteBuffer) { out.append(json: value) }

    /// Appends `text`, which must be UTF-8, as a JSON string.
    package static func append(string text: WireBytes, to out: inout ByteBuffer) { out.append(jsonString: text) }
}
