// Outbound connections: established, refused, hanging, and taken back.

import Bytes
import CLinux
import Glibc
import Testing

@testable import Reactor

@Suite struct ConnectorTests {
    @Test func whatIsWrittenWhileConnectingIsSentOnceEstablished() throws {
        let loop = try makeLoop()
        let server = Recorder(loop)
        let listener = try Listener.bind(loopback(), shared: false, handler: loop.register(server))
        try loop.add(listener)
        let client = Recorder(loop)
        let kind = loop.register(client)
        let id = try loop.connect(to: listener.address, handler: kind)
        loop.write(id, text: "early")
        #expect(client.openedIDs.isEmpty, "opened never comes inside connect")
        loop.turn(until: "the server hears it") { server.openedIDs.first.map { server.text($0) == "early" } ?? false }
        #expect(client.openedIDs == [id])
        #expect(loop.peerAddress(id)?.port == listener.address.port)
        // Written and ended before it is established: the words still go out.
        let brief = try loop.connect(to: listener.address, handler: kind)
        loop.write(brief, text: "in and out")
        loop.closeAfterFlush(brief)
        loop.turn(until: "the brief one was heard") { server.received.values.contains(Array("in and out".utf8)) }
        loop.turn(until: "the brief one is gone") { client.closedIDs[brief] != nil }
        #expect(client.closedIDs[brief] == .local)
        dismantleForTest(loop)
    }

    @Test func theSourceAddressIsTheOneThatWasAskedFor() throws {
        let loop = try makeLoop()
        let server = Recorder(loop)
        let listener = try Listener.bind(loopback(), shared: false, handler: loop.register(server))
        try loop.add(listener)
        let client = Recorder(loop)
        let source = try #require(SocketAddress(host: "127.0.0.2", port: 0))
        _ = try loop.connect(to: listener.address, from: source, handler: loop.register(client))
        loop.turn(until: "it was accepted") { !server.openedIDs.isEmpty }
        let accepted = try #require(server.openedIDs.first)
        #expect(loop.peerAddress(accepted)?.host == "127.0.0.2")
        let foreign = try #require(SocketAddress(host: "192.0.2.1", port: 0))
        #expect(throws: SystemError.self) { try loop.connect(to: listener.address, from: foreign, handler: 0) }
        dismantleForTest(loop)
    }

    @Test func aRefusedConnectionIsClosedWithTheReasonAndNeverOpened() throws {
        let loop = try makeLoop()
        let client = Recorder(loop)
        let kind = loop.register(client)
        // A port that is bound but does not listen: nobody else can take it meanwhile.
        let holder = martlet_socket(AF_INET)
        defer { close(holder) }
        try #require(loopback().withAddress { martlet_bind(holder, $0, $1) } == 0)
        let address = try #require(SocketAddress.local(of: holder))
        do {
            let id = try loop.connect(to: address, handler: kind)
            loop.write(id, text: "nobody reads this")
            loop.turn(until: "the refusal has come") { !client.closedIDs.isEmpty }
            #expect(client.closedIDs == [id: .failed(ECONNREFUSED)])
        } catch {
            #expect(error.code == ECONNREFUSED)
        }
        #expect(client.openedIDs.isEmpty)
        #expect(loop.connectionCount == 0)
        #expect(loop.liveFrames == 0)
        dismantleForTest(loop)
    }

    @Test func aUnixPathWithoutAListenerThrowsAtOnceAndLeaksNothing() throws {
        let loop = try makeLoop()
        let client = Recorder(loop)
        let kind = loop.register(client)
        let nowhere = try #require(SocketAddress(unixPath: "/nonexistent/\(getpid())"))
        for _ in 0..<100 {
            let error = #expect(throws: SystemError.self) { try loop.connect(to: nowhere, handler: kind) }
            #expect(error?.code == ENOENT)
            #expect(error?.call == "connect")
        }
        #expect(loop.connectionCount == 0)
        dismantleForTest(loop)
    }

    @Test(arguments: [0, 1, 2]) func aConnectionThatNeverEstablishesEndsWhenItsOwnerSaysSo(way: Int) throws {
        let loop = try makeLoop()
        let client = Recorder(loop)
        let kind = loop.register(client)
        // A listener whose queue is full drops what asks to connect: a black hole on the loopback.
        let hole = martlet_socket(AF_INET)
        defer { close(hole) }
        try #require(loopback().withAddress { martlet_bind(hole, $0, $1) } == 0)
        try #require(listen(hole, 0) == 0)
        let address = try #require(SocketAddress.local(of: hole))
        let ids = try (0..<6).map { _ in try loop.connect(to: address, handler: kind) }
        loop.turn(until: "the first is established") { !client.openedIDs.isEmpty }
        loop.turn(times: 20)
        let hanging = ids.filter { !client.openedIDs.contains($0) }
        try #require(!hanging.isEmpty)
        for id in hanging {
            switch way {
            case 0: loop.close(id)
            case 1: loop.closeAfterFlush(id)
            default:
                // As an owner does it: a time limit on the connection's timer.
                client.onTimer = { loop.close($0) }
                loop.setTimer(id, after: .milliseconds(4))
            }
        }
        // At the end of this iteration, not when some time limit of the loop's own has passed.
        if way < 2 { loop.turn(wait: false) } else { loop.turn(until: "they are gone") { !client.closedIDs.isEmpty } }
        loop.turn(times: 5)
        #expect(client.closedIDs == Dictionary(uniqueKeysWithValues: hanging.map { ($0, .local) }))
        #expect(loop.connectionCount == ids.count - hanging.count)
        dismantleForTest(loop)
    }

    @Test func closingInsideOpenedOfAnOutboundConnectionIsHarmless() throws {
        let loop = try makeLoop()
        let server = Recorder(loop)
        let listener = try Listener.bind(loopback(), shared: false, handler: loop.register(server))
        try loop.add(listener)
        let client = Recorder(loop)
        let kind = loop.register(client)
        client.onOpened = { loop.close($0) }
        for _ in 0..<20 {
            let id = try loop.connect(to: listener.address, handler: kind)
            loop.write(id, text: "dropped")
        }
        loop.turn(until: "all are gone") { client.closedIDs.count == 20 && loop.connectionCount == 0 }
        #expect(server.received.isEmpty)
        #expect(loop.liveFrames == 0)
        dismantleForTest(loop)
    }
}

@Suite struct SocketAddressTests {
    @Test(arguments: [
        ("127.0.0.1", "127.0.0.1:80"), ("::1", "[::1]:80"), ("::", "[::]:80"), ("0.0.0.0", "0.0.0.0:80"),
        ("::ffff:10.1.2.3", "10.1.2.3:80"), ("2001:db8::ff", "[2001:db8::ff]:80"),
    ])
    func numericAddressesAreReadAndShown(host: String, shown: String) throws {
        let address = try #require(SocketAddress(host: host, port: 80))
        #expect(address.description == shown)
        #expect(address.port == 80)
    }

    @Test(arguments: ["", "localhost", "1.2.3", "1.2.3.4.5", "::g", "127.0.0.1 ", "[::1]", "256.0.0.1"])
    func whatIsNotNumericIsRefused(host: String) {
        #expect(SocketAddress(host: host, port: 80) == nil)
    }

    @Test func unixPathsAreBoundedByTheKernelsStruct() {
        #expect(SocketAddress(unixPath: "") == nil)
        #expect(SocketAddress(unixPath: String(repeating: "x", count: 107)) != nil)
        #expect(SocketAddress(unixPath: String(repeating: "x", count: 108)) == nil)
        #expect(SocketAddress(unixPath: "\0abstract") != nil)
        #expect(SocketAddress(unixPath: "/tmp/a\0b") == nil, "the kernel would take another path")
        #expect(SocketAddress(unixPath: "/tmp/a")?.port == nil)
    }
}
