// Who compresses how: the offers of permessage-deflate that a server takes or declines, and the client's own offer and
// what it accepts as an answer. Neither side of ours keeps a context between messages, which is what lets all
// connections of a loop share one stream per direction. Called by the opening handshake on the connection's loop, once
// per connection; allocates nothing. RFC 7692 sections 5 and 7.1.

import Bytes
package import HTTP

/// The parameters of one permessage-deflate element, each at most once.
private struct DeflateParameters {
    var serverResets = false
    var clientResets = false
    /// `server_max_window_bits`, 8 to 15.
    var serverWindow: Int?
    /// `client_max_window_bits`, 8 to 15; nil also when it was given without a value, which only an offer may do.
    var clientWindow: Int?
    var namesClientWindow = false

    /// Takes a parameter; false if it is unknown, given twice or has a value that it must not have.
    mutating func take(_ name: UnsafeRawBufferPointer, _ value: ExtensionScanner.Value?) -> Bool {
        if ASCII.equals(name, "server_no_context_takeover") { return DeflateParameters.raise(&serverResets, value) }
        if ASCII.equals(name, "client_no_context_takeover") { return DeflateParameters.raise(&clientResets, value) }
        if ASCII.equals(name, "server_max_window_bits") {
            guard serverWindow == nil, let bits = value?.windowBits else { return false }
            serverWindow = bits
            return true
        }
        guard ASCII.equals(name, "client_max_window_bits"), !namesClientWindow else { return false }
        namesClientWindow = true
        guard let value else { return true }
        clientWindow = value.windowBits
        return clientWindow != nil
    }

    private static func raise(_ flag: inout Bool, _ value: ExtensionScanner.Value?) -> Bool {
        guard !flag, value == nil else { return false }
        flag = true
        return true
    }
}

/// What reading the parameters of one extension came to.
private enum ParameterReading {
    case sound(DeflateParameters)
    /// Well-formed, but not what RFC 7692 defines.
    case unsound
    case malformed
}

extension ExtensionScanner {
    /// Reads all parameters of the current extension, also behind one that is unsound.
    fileprivate mutating func deflateParameters() -> ParameterReading {
        var parameters = DeflateParameters()
        var sound = true
        while true {
            switch nextParameter() {
            case .parameter(let name, let value): sound = sound && parameters.take(name, value)
            case .end: return sound ? .sound(parameters) : .unsound
            case .name, .malformed: return .malformed
            }
        }
    }
}

/// The window of a server's deflate stream. There are two, so that a broadcast is compressed twice at most.
package enum DeflateWindow: UInt8, Sendable, CaseIterable {
    /// 32 KiB: for whoever asks for nothing less.
    case wide = 15
    /// 512 bytes: for whoever asks for less. RFC 7692 section 7.1.2.1 lets a server answer less than it was asked for.
    case narrow = 9
}

/// A server's answer to the first offer that it can take.
package struct DeflateAnswer: Sendable, Equatable {
    /// The window that the server compresses with.
    package let window: DeflateWindow
    /// Whether the offer named a server window, which then has to be answered.
    package let namesWindow: Bool

    /// The answer to the offers in `fields`, in the client's order; nil if there is none that can be taken.
    ///
    /// An offer with a parameter that is unknown, given twice or ill-valued is declined and the next one tried. A
    /// server window of 8 is declined: zlib's raw deflate silently makes 9 of it, which such a client cannot read.
    package static func to(_ fields: HeaderFields) -> DeflateAnswer? {
        for field in fields where ASCII.equalsIgnoringCase(field.name, "sec-websocket-extensions") {
            var scanner = ExtensionScanner(field.rawValue)
            scan: while case .name(let name) = scanner.nextExtension() {
                switch scanner.deflateParameters() {
                case .malformed: break scan
                case .unsound: continue
                case .sound(let parameters):
                    guard ASCII.equals(name, "permessage-deflate") else { continue }
                    guard let bits = parameters.serverWindow else {
                        return DeflateAnswer(window: .wide, namesWindow: false)
                    }
                    if bits == 8 { continue }
                    return DeflateAnswer(window: bits == 15 ? .wide : .narrow, namesWindow: true)
                }
            }
        }
        return nil
    }

    /// Appends the field. Nobody keeps a context; the client's window is left to the client, since the inflating
    /// stream is shared and has the widest one.
    func append(to buffer: inout ByteBuffer) {
        buffer.append("Sec-WebSocket-Extensions: permessage-deflate")
        buffer.append("; server_no_context_takeover; client_no_context_takeover")
        if namesWindow {
            buffer.append("; server_max_window_bits=")
            buffer.append(decimal: UInt64(window.rawValue))
        }
        buffer.append("\r\n")
    }
}

/// What a client and its server agreed on. Neither keeps a context.
package struct DeflateAgreement: Sendable, Equatable {
    /// Window of what the server sends, 8 to 15 bits; any can be inflated.
    package let serverWindow: Int
    /// Window that the client may compress with, 9 to 15 bits; nil: it sends plain messages only, because the server
    /// allows 8 bits, which zlib cannot make.
    package let clientWindow: Int?
}

/// A client's offer of permessage-deflate: no context either way.
package struct DeflateOffer: Sendable, Equatable {
    /// Widest window that the server may use, 9 to 15 bits; nil leaves it to the server.
    package let serverWindow: Int?
    /// Whether the server may limit the client's window.
    package let admitsClientWindow: Bool

    /// An offer; `serverWindow` outside 9...15 is a programmer's error.
    package init(serverWindow: Int? = nil, admitsClientWindow: Bool = true) {
        if let serverWindow { precondition(serverWindow >= 9 && serverWindow <= 15) }
        self.serverWindow = serverWindow
        self.admitsClientWindow = admitsClientWindow
    }

    /// Appends the field of the request.
    func append(to buffer: inout ByteBuffer) {
        buffer.append("Sec-WebSocket-Extensions: permessage-deflate")
        buffer.append("; server_no_context_takeover; client_no_context_takeover")
        if let serverWindow {
            buffer.append("; server_max_window_bits=")
            buffer.append(decimal: UInt64(serverWindow))
        }
        if admitsClientWindow { buffer.append("; client_max_window_bits") }
        buffer.append("\r\n")
    }

    /// Judges the answer in a response's `fields`; nil if the server declined.
    ///
    /// Whatever was not offered, is given twice or is not defined fails the connection (RFC 7692 sections 5.1 and
    /// 7.1), and so does a server that would keep its context or exceed the window that it was asked for.
    package static func judge(
        _ fields: HeaderFields, offered: DeflateOffer?
    ) throws(HandshakeFailure) -> DeflateAgreement? {
        var agreement: DeflateAgreement?
        for field in fields where ASCII.equalsIgnoringCase(field.name, "sec-websocket-extensions") {
            var scanner = ExtensionScanner(field.rawValue)
            scan: while true {
                switch scanner.nextExtension() {
                case .end: break scan
                case .parameter, .malformed: throw .extensionParameters
                case .name(let name):
                    guard let offered, agreement == nil, ASCII.equals(name, "permessage-deflate") else {
                        throw .extensionNotOffered
                    }
                    guard case .sound(let parameters) = scanner.deflateParameters(),
                        let accepted = offered.accept(parameters)
                    else { throw .extensionParameters }
                    agreement = accepted
                }
            }
        }
        return agreement
    }

    private func accept(_ answer: DeflateParameters) -> DeflateAgreement? {
        guard answer.serverResets else { return nil }
        if let serverWindow {
            guard let bits = answer.serverWindow, bits <= serverWindow else { return nil }
        }
        var clientWindow: Int? = 15
        if answer.namesClientWindow {
            guard admitsClientWindow, let bits = answer.clientWindow else { return nil }
            clientWindow = bits == 8 ? nil : bits
        }
        return DeflateAgreement(serverWindow: answer.serverWindow ?? 15, clientWindow: clientWindow)
    }
}
