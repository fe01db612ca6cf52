// The parsers that are fuzzed, each with the inputs that mutation starts from and the words that its language is made
// of. The one list that the driver, its options and libFuzzer's entry share.

import ArgumentParser
import Fuzz

/// A parser under test.
enum FuzzTarget: String, CaseIterable, Sendable, ExpressibleByArgument {
    /// HTTP heads and the opening handshake.
    case http
    /// The PROXY header.
    case proxy
    /// WebSocket frames.
    case frames
    /// Compressed messages.
    case deflate
    /// The client protocol's commands.
    case commands
    /// Redis replies.
    case resp

    /// Runs the parser on `bytes`; an invariant that breaks stops the process.
    func run(_ bytes: UnsafeRawBufferPointer) {
        switch self {
        case .http: fuzzHTTPHead(bytes)
        case .proxy: fuzzProxyHeader(bytes)
        case .frames: fuzzFrames(bytes)
        case .deflate: fuzzDeflate(bytes)
        case .commands: fuzzCommands(bytes)
        case .resp: fuzzRESP(bytes)
        }
    }

    /// Where mutation starts.
    var seeds: [[UInt8]] {
        switch self {
        case .http: fuzzHTTPHeadSeeds
        case .proxy: fuzzProxyHeaderSeeds
        case .frames: fuzzFramesSeeds
        case .deflate: fuzzDeflateSeeds
        case .commands: commandSeeds
        case .resp: fuzzRESPSeeds
        }
    }

    /// Words that random bytes would hardly ever form.
    var dictionary: [[UInt8]] {
        let words: [String] =
            switch self {
            case .http:
                [
                    "\r\n", "\r\n\r\n", "\n", " ", ": ", "GET / HTTP/1.1", "HTTP/1.0", "HTTP/1.1 101 x", "Host: a",
                    "Content-Length: ", "Transfer-Encoding: chunked", "Upgrade: websocket", "Connection: Upgrade",
                    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13", ",", ";", "%00", "?",
                    "18446744073709551616", "-1", "0x5", "\u{0}", "\u{B}",
                    "Sec-WebSocket-Extensions: permessage-deflate", "; server_max_window_bits=",
                    "; client_max_window_bits", "; server_no_context_takeover", "\"15\"", "=8",
                ]
            case .proxy: ["PROXY ", "TCP4 ", "TCP6 ", "UNKNOWN", "\r\n", "\r\n\r\n\0\r\nQUIT\n", "::ffff:", " 65536"]
            case .frames, .deflate: []
            case .commands:
                [
                    "{", "}", "[", "]", ",", ":", "\"", "\\", "\n", "{}", "null", "true", "1e400", "-0", "0.5",
                    "\\u0000",
                    "\\ud800", "\\udc00", "\"id\":", "\"connect\":{", "\"subscribe\":{\"channel\":\"", "\"publish\":",
                    "\"data\":", "\"unsubscribe\":", "\"send\":", "\"ping\":{}", "\"rpc\":", "\"history\":",
                    "4294967296", "18446744073709551616", "\"since\":{\"offset\":", "\"token\":",
                ]
            case .resp:
                [
                    "\r\n", "*", "$", "+", "-", ":", "$-1\r\n", "*-1\r\n", "*0\r\n", "$0\r\n\r\n",
                    "*3\r\n$7\r\nmessage\r\n",
                    "2147483648", "9223372036854775808", "-2", "+OK\r\n", "-ERR x\r\n", ":1\r\n", "_\r\n", ">", "%",
                    "~",
                ]
            }
        // Lengths at the edges of the frame format, in both of its wide forms.
        let frames: [[UInt8]] = [
            [0x81, 0x80, 0, 0, 0, 0], [0x81, 0xFE, 0, 126], [0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 1],
            [0x82, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], [0x80, 0x80, 1, 2, 3, 4], [0x89, 0x80],
            [0x88, 0x82, 0, 0, 0, 0, 3, 0xE8], [0xF0, 0x9F, 0x98, 0x80], [0xED, 0xA0, 0x80], [0xC0, 0x80],
            [0x01, 0x00],
        ]
        // Blocks without compression, an empty last block, the tail, reserved block types.
        let blocks: [[UInt8]] = [
            [0x00], [0x00, 0x00, 0x00, 0xFF, 0xFF], [0x03, 0x00], [0x01, 0x00, 0x00, 0xFF, 0xFF],
            [0x00, 0x00, 0xFF, 0xFF],
            [0x07], [0x06], [0x00, 0x01, 0x00, 0xFE, 0xFF, 0x41], [0x05], [0xED],
        ]
        switch self {
        case .frames: return frames
        case .deflate: return blocks
        default: return words.map { Array($0.utf8) }
        }
    }
}
