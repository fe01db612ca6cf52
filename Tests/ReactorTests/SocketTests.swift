// The loop over real sockets on the loopback: accepting, half-close, resets, back-pressure, lingering.

import Bytes
import CLinux
import Glibc
import Synchronization
import Testing

@testable import Reactor

/// A loop with one listener whose connections go to a recorder.
private struct Server {
    let loop: Loop
    let recorder: Recorder
    let address: SocketAddress

    init(_ limits: LoopLimits = LoopLimits(), clock: ManualClock? = nil, at: SocketAddress? = nil) throws {
        loop = try makeLoop(limits, clock: clock)
        recorder = Recorder(loop)
        let kind = loop.register(recorder)
        let listener = try Listener.bind(at ?? loopback(), shared: false, handler: kind)
        address = listener.address
        try loop.add(listener)
    }

    /// Connects a peer and waits until it was accepted.
    func connect() throws -> (Peer, ConnectionID) {
        let before = recorder.openedIDs.count
        let peer = try Peer(to: address)
        loop.turn(until: "the peer was accepted") { recorder.openedIDs.count > before }
        return (peer, try #require(recorder.openedIDs.last))
    }

    func end() { dismantleForTest(loop) }
}

@Suite struct AcceptTests {
    @Test func manyConnectionsAreAcceptedAndServedBesideEachOther() throws {
        let server = try Server()
        let loop = server.loop
        server.recorder.onReceived = { loop.write($0, $1) }
        let peers = try (0..<150).map { _ in try Peer(to: server.address) }
        for (index, peer) in peers.enumerated() { peer.send("hello \(index)") }
        loop.turn(until: "all have their echo") {
            for peer in peers { peer.poll() }
            return peers.allSatisfy { $0.bytes.count >= 7 }
        }
        for (index, peer) in peers.enumerated() { #expect(peer.text == "hello \(index)") }
        #expect(loop.connectionCount == 150)
        for peer in peers { peer.close() }
        loop.turn(until: "all are gone") { loop.connectionCount == 0 }
        #expect(server.recorder.closedIDs.values.allSatisfy { $0 == .peerClosed })
        #expect(loop.liveFrames == 0)
        server.end()
    }

    @Test func aListenerAcceptsNoMoreThanItsBudgetPerIteration() throws {
        var limits = LoopLimits()
        limits.acceptsPerIteration = 10
        let server = try Server(limits)
        let peers = try (0..<25).map { _ in try Peer(to: server.address) }
        for expected in [10, 20, 25] {
            server.loop.turn(wait: false)
            #expect(server.recorder.openedIDs.count == expected)
        }
        #expect(peers.count == 25)
        server.end()
    }

    @Test func whatWaitsIsAcceptedBeforeListeningEnds() throws {
        var limits = LoopLimits()
        limits.acceptsPerIteration = 3
        let server = try Server(limits)
        let loop = server.loop
        server.recorder.onReceived = { loop.write($0, $1) }
        let peers = try (0..<40).map { _ in try Peer(to: server.address) }
        for peer in peers { peer.send("x") }
        loop.stopListening(handler: 0)
        #expect(server.recorder.openedIDs.count == 40)
        loop.turn(until: "all have their echo") {
            for peer in peers { peer.poll() }
            return peers.allSatisfy { $0.text == "x" }
        }
        let late = try Peer(to: server.address)
        var entry = pollfd(fd: late.descriptor, events: Int16(POLLOUT), revents: 0)
        _ = poll(&entry, 1, 10_000)
        #expect(martlet_get_option(late.descriptor, SOL_SOCKET, SO_ERROR) == ECONNREFUSED)
        loop.stopListening(handler: 0)
        server.end()
    }

    @Test func listeningMayEndInsideOpened() throws {
        let server = try Server()
        let loop = server.loop
        server.recorder.onOpened = { _ in loop.stopListening(handler: 0) }
        let peers = try (0..<5).map { _ in try Peer(to: server.address) }
        loop.turn(times: 3)
        #expect(server.recorder.openedIDs.count == 5)
        #expect(peers.count == 5)
        server.end()
    }

    @Test func otherKindsOfConnectionsAreStillAcceptedWhenOneKindIsNot() throws {
        let server = try Server()
        let other = Recorder(server.loop)
        let listener = try Listener.bind(loopback(), shared: false, handler: server.loop.register(other))
        try server.loop.add(listener)
        server.loop.stopListening(handler: 0)
        let peer = try Peer(to: listener.address)
        server.loop.turn(until: "the other kind was accepted") { other.openedIDs.count == 1 }
        #expect(peer.descriptor >= 0)
        server.end()
    }

    @Test func twoLoopsShareAPortAndATightListenerDoesNot() throws {
        let first = try makeLoop()
        let second = try makeLoop()
        let recorders = [Recorder(first), Recorder(second)]
        let listener = try Listener.bind(loopback(), shared: true, handler: first.register(recorders[0]))
        let other = try Listener.bind(listener.address, shared: true, handler: second.register(recorders[1]))
        #expect(throws: SystemError.self) { try Listener.bind(listener.address, shared: false, handler: 0) }
        try first.add(listener)
        try second.add(other)
        let peers = try (0..<64).map { _ in try Peer(to: listener.address) }
        first.turn(until: "all are accepted") {
            second.turn(wait: false)
            return recorders[0].openedIDs.count + recorders[1].openedIDs.count == peers.count
        }
        #expect(recorders.allSatisfy { !$0.openedIDs.isEmpty }, "the kernel spreads them")
        dismantleForTest(first)
        dismantleForTest(second)
    }

    @Test func aPortClaimKeepsASecondOneOutUntilItIsGone() throws {
        let holder = try Listener.bind(loopback(), shared: true, handler: 0)
        defer { close(holder.descriptor) }
        var claim: PortClaim? = try PortClaim(holder.address)
        #expect(claim != nil)
        let error = #expect(throws: SystemError.self) { _ = try PortClaim(holder.address) }
        #expect(error?.isAddressInUse == true)
        _ = try PortClaim(try loopback(1))
        claim = nil
        claim = try PortClaim(holder.address)
        #expect(claim != nil)
    }

    /// A failed claim closed its descriptor twice, and so the socket of whoever had got the number in between.
    @Test func aFailedClaimClosesNothingOfOthers() throws {
        let address = try loopback(2)
        let claim = try PortClaim(address)
        let isOver = Atomic<Bool>(false)
        let stolen = Atomic<Int>(0)
        let bystander = TestThread {
            while !isOver.load(ordering: .relaxed) {
                let descriptor = martlet_socket(AF_UNIX)
                if close(descriptor) != 0 { stolen.add(1, ordering: .relaxed) }
            }
        }
        for _ in 0..<2000 { #expect(throws: SystemError.self) { _ = try PortClaim(address) } }
        isOver.store(true, ordering: .relaxed)
        bystander.join()
        #expect(stolen.load(ordering: .relaxed) == 0)
        withExtendedLifetime(claim) {}
    }

    @Test func unixPathsNeedNoClaim() throws {
        let one = try #require(SocketAddress(unixPath: "/tmp/a"))
        let two = try #require(SocketAddress(unixPath: "/tmp/b"))
        let claims = [try PortClaim(one), try PortClaim(two), try PortClaim(one)]
        #expect(claims.count == 3)
    }
}

@Suite struct UnixSocketTests {
    private func temporaryPath() -> String {
        "/tmp/martlet-test-\(getpid())-\(UInt64.random(in: 0 ... .max))"
    }

    @Test(arguments: [false, true]) func echoOverAUnixSocket(isAbstract: Bool) throws {
        let path = (isAbstract ? "\0" : "") + temporaryPath()
        defer { unlink(path) }
        let address = try #require(SocketAddress(unixPath: path))
        let server = try Server(at: address)
        let loop = server.loop
        server.recorder.onReceived = { loop.write($0, $1) }
        let client = Recorder(loop)
        let id = try loop.connect(to: server.address, handler: loop.register(client))
        loop.write(id, text: "over a path")
        loop.turn(until: "the echo is back") { client.text(id) == "over a path" }
        #expect(client.openedIDs == [id])
        #expect(server.address.port == nil)
        #expect(loop.peerAddress(id)?.host == "unix")
        loop.closeAfterFlush(id)
        loop.turn(until: "both are gone") { loop.connectionCount == 0 }
        #expect(client.closedIDs == [id: .local])
        server.end()
    }

    @Test("NET-13 writing several blocks to a closed peer fails without a signal") func noSignal() throws {
        // A write without MSG_NOSIGNAL would end the test process here: nothing in it ignores SIGPIPE.
        let path = temporaryPath()
        defer { unlink(path) }
        let address = try #require(SocketAddress(unixPath: path))
        let server = try Server(at: address)
        let (peer, id) = try server.connect()
        server.loop.pauseReading(id)
        peer.close()
        for blocks in [1, 5] where server.loop.isOpen(id) {
            for _ in 0..<blocks {
                let frame = server.loop.makeFrame(capacity: 10)
                Array("0123456789".utf8).withUnsafeBytes { frame.append($0) }
                server.loop.enqueue(id, frame)
                server.loop.enqueue(id, frame)
                server.loop.release(frame)
            }
            server.loop.turn(wait: false)
        }
        #expect(server.recorder.closedIDs == [id: .failed(EPIPE)])
        #expect(server.loop.liveFrames == 0)
        server.end()
    }
}

@Suite struct HalfCloseTests {
    @Test(arguments: [10, 3_000_000]) func aHalfClosedPeerGetsItsAnswer(size: Int) throws {
        let server = try Server()
        let loop = server.loop
        let answer = pattern(size)
        server.recorder.onReceived = { id, _ in loop.write(id, answer) }
        let (peer, id) = try server.connect()
        peer.send("question")
        peer.shutdownWrite()
        loop.turn(until: "the peer has read to the end") {
            peer.poll(limit: 200_000)
            return peer.end != nil
        }
        #expect(peer.end == 0)
        #expect(peer.bytes == answer)
        loop.turn(until: "the connection is gone") { loop.connectionCount == 0 }
        #expect(server.recorder.closedIDs == [id: .peerClosed])
        #expect(loop.liveFrames == 0)
        server.end()
    }

    @Test func everythingBeforeTheEndIsReadAlthoughItExceedsTheBudget() throws {
        var limits = LoopLimits()
        limits.readsPerIteration = 1
        let server = try Server(limits)
        let (peer, id) = try server.connect()
        let bytes = pattern(700_000)
        server.loop.pauseReading(id)
        var sent = 0
        server.loop.turn(until: "the peer's socket is full") {
            let count = peer.send(Array(bytes[sent..<min(bytes.count, sent + 50_000)]))
            sent += max(0, count)
            return count <= 0 || sent == bytes.count
        }
        #expect(server.recorder.receiveCalls == 0)
        server.loop.resumeReading(id)
        server.loop.turn(until: "everything has been sent") {
            if sent < bytes.count { sent += max(0, peer.send(Array(bytes[sent...]))) }
            return sent == bytes.count
        }
        peer.shutdownWrite()
        server.loop.turn(until: "the end was seen") { !server.recorder.closedIDs.isEmpty }
        #expect(server.recorder.received[id] == bytes)
        #expect(server.recorder.closedIDs == [id: .peerClosed])
        server.end()
    }

    @Test func whatCameWhilePausedIsThereAfterResumingThoughNoEventComes() throws {
        let server = try Server()
        let (peer, id) = try server.connect()
        server.loop.pauseReading(id)
        peer.send("early")
        peer.shutdownWrite()
        server.loop.turn(times: 5)
        #expect(server.recorder.received.isEmpty)
        #expect(server.recorder.closedIDs.isEmpty)
        server.loop.resumeReading(id)
        server.loop.turn(times: 2)
        #expect(server.recorder.text(id) == "early")
        #expect(server.recorder.closedIDs == [id: .peerClosed])
        server.end()
    }
}

@Suite struct ResetTests {
    @Test("NET-13 resets in the middle of writing end their connections only") func resets() throws {
        let server = try Server()
        let loop = server.loop
        let (survivor, survivorID) = try server.connect()
        var ended = 0
        let large = pattern(4_000_000)
        for round in 0..<100 {
            let (peer, id) = try server.connect()
            loop.write(id, round % 2 == 0 ? pattern(100) : large)
            if round % 3 == 0 { loop.turn(wait: false) }
            if round % 4 == 0 { loop.pauseReading(id) }
            peer.reset()
            loop.write(id, pattern(100))
            loop.turn(until: "the reset was seen") {
                // A paused connection notices when it writes.
                loop.write(id, text: "more")
                return server.recorder.closedIDs[id] != nil
            }
            ended += 1
        }
        #expect(ended == 100)
        #expect(loop.connectionCount == 1)
        #expect(loop.liveFrames == 0)
        loop.write(survivorID, text: "still here")
        loop.turn(until: "the survivor hears us") {
            survivor.poll()
            return survivor.text == "still here"
        }
        server.end()
    }
}

@Suite struct SocketPressureTests {
    @Test func megabytesWaitForASlowPeerAndArriveInOrder() throws {
        let server = try Server()
        let loop = server.loop
        let (peer, id) = try server.connect()
        let bytes = pattern(9_000_000)
        for start in stride(from: 0, to: bytes.count, by: 60_000) {
            loop.write(id, Array(bytes[start..<min(bytes.count, start + 60_000)]))
        }
        loop.turn(times: 3)
        #expect(loop.queuedBytes(id) > 0)
        #expect(server.recorder.drainedIDs.isEmpty)
        loop.turn(until: "all has arrived") {
            peer.poll(limit: 700_000)
            return peer.bytes.count >= bytes.count
        }
        #expect(peer.bytes == bytes)
        loop.turn(until: "the queue is empty") { loop.queuedBytes(id) == 0 }
        #expect(!server.recorder.drainedIDs.isEmpty)
        #expect(loop.liveFrames == 0)
        server.end()
    }

    @Test func aFrozenPeerIsClosedAsStalled() throws {
        let clock = ManualClock()
        let server = try Server(clock: clock)
        let (peer, id) = try server.connect()
        server.loop.write(id, pattern(9_000_000))
        server.loop.turn(times: 3)
        #expect(server.loop.queuedBytes(id) > 0)
        // Time stands still, and so does whatever the kernel still moves into the peer's buffer.
        for _ in 0..<12 {
            clock.advance(.seconds(1))
            server.loop.turn(wait: false)
        }
        for _ in 0..<12 where server.loop.isOpen(id) {
            clock.advance(.seconds(1))
            server.loop.turn(wait: false)
        }
        #expect(server.recorder.closedIDs == [id: .stalled])
        #expect(server.loop.liveFrames == 0)
        server.loop.turn(until: "the peer hears of it") {
            peer.poll()
            return peer.end != nil
        }
        #expect(peer.end == ECONNRESET, "the kernel does not go on with what was in its buffer")
        server.end()
    }
}

@Suite struct LingerTests {
    @Test func theLastAnswerSurvivesInputThatNobodyRead() throws {
        let server = try Server()
        let loop = server.loop
        server.recorder.onReceived = { id, _ in
            loop.write(id, text: "413 too large")
            loop.closeAfterFlush(id)
        }
        let (peer, id) = try server.connect()
        for _ in 0..<20 { peer.send(pattern(100_000)) }
        loop.turn(until: "the answer has come") {
            peer.send(pattern(1000))
            if server.recorder.receiveCalls > 0 { loop.write(id, text: "a late broadcast") }
            peer.poll()
            return peer.end != nil
        }
        #expect(peer.end == 0, "a FIN, not a reset")
        #expect(peer.text == "413 too large")
        #expect(loop.connectionCount == 1, "it waits for the peer to close")
        #expect(server.recorder.receiveCalls == 1)
        peer.close()
        loop.turn(until: "the connection is gone") { loop.connectionCount == 0 }
        #expect(server.recorder.closedIDs == [id: .local])
        server.end()
    }

    @Test func aPeerThatNeverClosesIsGivenUpEvenIfTheHandlerTouchesItsTimer() throws {
        let clock = ManualClock()
        let server = try Server(clock: clock)
        let loop = server.loop
        let (peer, id) = try server.connect()
        loop.setTimer(id, after: .seconds(1))
        loop.closeAfterFlush(id)
        loop.cancelTimer(id)
        loop.setTimer(id, after: .seconds(600))
        loop.pauseReading(id)
        loop.turn(wait: false)
        clock.advance(.milliseconds(4990))
        loop.turn(wait: false)
        #expect(loop.connectionCount == 1)
        clock.advance(.milliseconds(20))
        loop.turn(wait: false)
        #expect(loop.connectionCount == 0)
        #expect(server.recorder.closedIDs == [id: .local])
        #expect(server.recorder.timers.isEmpty)
        #expect(peer.descriptor >= 0)
        server.end()
    }

    @Test func aLingeringConnectionDoesNotKeepTheLoopAwake() throws {
        let server = try Server()
        let loop = server.loop
        let (peer, id) = try server.connect()
        loop.closeAfterFlush(id)
        loop.turn(times: 3)
        #expect(loop.isOpen(id))
        #expect(loop.state.pointee.carried.isEmpty)
        peer.send("noise")
        loop.turn(times: 3)
        #expect(loop.state.pointee.carried.isEmpty)
        peer.close()
        loop.turn(until: "the connection is gone") { loop.connectionCount == 0 }
        server.end()
    }
}
