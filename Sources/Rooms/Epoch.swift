// Epochs as text: clients and stores see 16 hexadecimal digits, the house counts with a word. A client's epoch is
// whatever it sends: what is not one of ours is an epoch that no stream has.

import Bytes
import Wire

/// The text form of epochs.
enum Epoch {
    /// The epoch that `text` names; 0, which no stream has, when it is none.
    static func parse(_ text: WireBytes) -> UInt64 {
        guard text.count == 16 else { return 0 }
        var value: UInt64 = 0
        for byte in text {
            let digit: UInt8
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = byte - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = byte - UInt8(ascii: "a") + 10
            default: return 0
            }
            value = value << 4 | UInt64(digit)
        }
        return value
    }

    /// Appends the 16 digits of `epoch`.
    static func append(_ epoch: UInt64, to out: inout ByteBuffer) {
        for place in 0..<16 {
            let digit = UInt8(epoch >> UInt64(60 - 4 * place) & 15)
            out.append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
        }
    }
}
