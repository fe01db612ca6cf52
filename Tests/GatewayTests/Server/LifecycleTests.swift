// How a gateway starts and ends: ports that are taken, starts that fail, drains.

import TestSupport
import Testing

@testable import Gateway

@Suite struct LifecycleTests {
    @Test func `stop closes every client with 3001, in paced batches, and the ports are free afterwards`() throws {
        let gateway = try TestGateway {
            $0.loops = 1
            $0.echo = true
            $0.shutdown.drainWindow = .seconds(3)
        }
        let head = try RawSocket(port: gateway.port)
        try head.send("GET /connec")
        let echo = try gateway.peer("/echo")
        let clients = try (0..<40).map { _ in try gateway.client() }
        let admin = try RawSocket(port: gateway.adminPort)
        #expect(try admin.get("/readyz").status == 200)
        gateway.server.stop()
        #expect(try clients[0].awaitClose().closeReason == "shutdown")
        let last = clients[39]
        #expect(try last.ask(#"{"id":7,"ping":{}}"#) == #"{"id":7,"ping":{}}"#, "its turn has not come")
        let draining = try admin.get("/readyz")
        #expect(draining.status == 503 && draining.body.contains("draining: shutting down"))
        #expect(throws: TestFailure.self, "nobody listens any more") { _ = try RawSocket(port: gateway.port) }
        for client in clients.dropFirst() { #expect(try client.awaitClose().closeCode == 3001) }
        #expect(try echo.awaitClose().closeCode == 1001)
        #expect(head.awaitEnd())
        gateway.stop()
        let next = try TestGateway {
            $0.port = Int(gateway.port)
            $0.admin.port = Int(gateway.adminPort)
        }
        #expect(next.port == gateway.port)
        #expect(try next.admin("/livez").status == 200)
    }

    @Test func `clients that do not say goodbye do not hold up the end`() throws {
        let gateway = try TestGateway { $0.shutdown.drainWindow = .milliseconds(200) }
        let silent = try (0..<5).map { _ in try gateway.client() }
        gateway.stop()
        for client in silent {
            #expect(try client.next().closeCode == 3001)
            #expect(client.socket.awaitEnd())
        }
    }

    @Test func `a second gateway on the port is refused in words, and the first one goes on`() throws {
        let gateway = try TestGateway()
        for isAdmin in [false, true] {
            let second = GatewayServer(
                configuration: TestGateway.configuration {
                    if isAdmin { $0.admin.port = Int(gateway.adminPort) } else { $0.port = Int(gateway.port) }
                }, logger: TestGateway.quiet)
            let failure = #expect(throws: GatewayFailure.self) { try second.start() }
            #expect(failure?.kind == .network)
            #expect(failure?.description.contains("use") == true)
        }
        // All connections go to the gateway that runs.
        for _ in 0..<20 { _ = try gateway.client() }
        #expect(try gateway.metric("martlet_handshakes_total{result=\"accepted\"}") == 20)
    }

    @Test func `a start that fails gives back the ports that it had taken`() throws {
        let blocker = try TestGateway()
        let port = try FreePort.find()
        let failing = GatewayServer(
            configuration: TestGateway.configuration {
                $0.port = Int(port)
                $0.admin.port = Int(blocker.adminPort)
            }, logger: TestGateway.quiet)
        #expect(throws: GatewayFailure.self) { try failing.start() }
        #expect(throws: TestFailure.self, "nobody listens on the client port") { _ = try RawSocket(port: port) }
    }

    @Test func `a host that is no address stops the start in words`() throws {
        let server = GatewayServer(
            configuration: TestGateway.configuration { $0.host = "chat.example" }, logger: TestGateway.quiet)
        let failure = #expect(throws: GatewayFailure.self) { try server.start() }
        #expect(failure?.description.contains("numeric address") == true)
    }

    @Test func `either listener can be left out`() throws {
        let clientsOnly = try TestGateway { $0.admin.port = -1 }
        #expect(clientsOnly.server.adminAddress == nil)
        _ = try clientsOnly.client()
        let adminOnly = try TestGateway { $0.port = -1 }
        #expect(adminOnly.server.clientAddress == nil)
        #expect(try adminOnly.admin("/readyz").status == 200)
    }
}
