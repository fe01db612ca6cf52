// One question and its answer over a local stream socket: the admin pages and Redis' inline commands need no more.
// Every wait has a limit, so that a peer that is stopped cannot hold a test up.

import Foundation
import TestSupport

/// Where a local server listens.
package enum LocalAddress: Sendable {
    case port(UInt16)
    case path(String)
}

/// Asks local servers.
package enum LocalSocket {
    /// Sends `question` and reads until `isComplete`, the end, or `patience`. nil: nobody listens, or there is no
    /// answer.
    package static func ask(
        _ address: LocalAddress, _ question: String, within patience: Duration = .seconds(1),
        until isComplete: @escaping @Sendable (String) -> Bool
    ) async throws -> String? {
        try await blocking { () -> String? in
            guard let descriptor = connect(address, patience) else { return nil }
            defer { close(descriptor) }
            let bytes = Array(question.utf8)
            let sent = bytes.withUnsafeBytes { send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard sent == bytes.count else { return nil }
            var answer: [UInt8] = []
            var buffer = [UInt8](repeating: 0, count: 65_536)
            while !isComplete(String(decoding: answer, as: UTF8.self)) {
                let count = buffer.withUnsafeMutableBytes { recv(descriptor, $0.baseAddress, $0.count, 0) }
                guard count > 0 else { break }
                answer += buffer[..<count]
            }
            return answer.isEmpty ? nil : String(decoding: answer, as: UTF8.self)
        }
    }

    private static func connect(_ address: LocalAddress, _ patience: Duration) -> Int32? {
        let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        let descriptor: Int32
        let status: Int32
        switch address {
        case .port(let port):
            descriptor = socket(AF_INET, kind, 0)
            setPatience(descriptor, patience)
            status = withAddress(of: port) { Glibc.connect(descriptor, $0, $1) }
        case .path(let path):
            descriptor = socket(AF_UNIX, kind, 0)
            setPatience(descriptor, patience)
            status = withAddress(of: path) { Glibc.connect(descriptor, $0, $1) }
        }
        if status == 0 { return descriptor }
        close(descriptor)
        return nil
    }

    private static func setPatience(_ descriptor: Int32, _ patience: Duration) {
        var time = timeval(tv_sec: Int(patience.seconds), tv_usec: Int(patience.seconds * 1e6) % 1_000_000)
        let size = socklen_t(MemoryLayout<timeval>.size)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &time, size)
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &time, size)
    }

    fileprivate static func withAddress(of port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32
    {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        address.sin_port = port.bigEndian
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
        }
    }

    private static func withAddress(of path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { room in
            // The last byte stays 0.
            for (index, byte) in path.utf8.prefix(room.count - 1).enumerated() { room[index] = byte }
        }
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
        }
    }
}

/// A port for a server that is away for a while: nobody else gets it meanwhile, and connections to it are refused.
package final class PortReservation: Sendable {
    /// The port.
    package let number: UInt16
    /// Bound and not listening: that keeps away all but servers that, like Redis, are allowed to use an address again.
    private let descriptor: Int32

    /// Reserves a port below those that the kernel gives to outgoing connections.
    package init() throws {
        for _ in 0..<200 {
            let port = UInt16.random(in: 20_000..<32_000)
            let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
            if LocalSocket.withAddress(of: port, { bind(descriptor, $0, $1) }) == 0 {
                // Only now: whoever reserves must not get what somebody else has reserved.
                var isAllowed: Int32 = 1
                setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &isAllowed, socklen_t(MemoryLayout<Int32>.size))
                (number, self.descriptor) = (port, descriptor)
                return
            }
            close(descriptor)
        }
        throw TestFailure("no free port")
    }

    deinit { close(descriptor) }
}
