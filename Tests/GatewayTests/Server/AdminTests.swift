// The admin listener as operators see it: health, metrics, and HTTP/1.1 as it should be.

import TestSupport
import Testing

@testable import Gateway

@Suite struct AdminTests {
    @Test func `the health pages answer, in short or check by check`() throws {
        let gateway = try TestGateway()
        for path in ["/livez", "/healthz", "/readyz"] {
            let answer = try gateway.admin(path)
            #expect(answer.status == 200 && answer.body == "ok\n", "\(path)")
            #expect(answer.field("cache-control") == "no-store")
            #expect(answer.field("x-content-type-options") == "nosniff")
        }
        let live = try gateway.admin("/livez?verbose")
        #expect(live.body == "[+] loop 0: ok\n[+] loop 1: ok\nok\n")
        let ready = try gateway.admin("/readyz?verbose=1").body
        for check in ["[+] loop 0: ok", "[+] draining: ok", "[+] engine: ok"] {
            #expect(ready.contains(check + "\n"))
        }
    }

    @Test func `the metrics page has what happened`() throws {
        let gateway = try TestGateway()
        let client = try gateway.client().joined("a")
        try client.publish("a", "1")
        _ = try [client.text(), client.text()]
        let answer = try gateway.admin("/metrics")
        #expect(answer.status == 200)
        #expect(answer.field("content-type")?.hasPrefix("text/plain") == true)
        #expect(try gateway.metric("martlet_connections ") == 1)
        #expect(try gateway.metric("martlet_publications_total") == 1)
        #expect(try gateway.metric("martlet_deliveries_total") == 1)
        #expect(try gateway.metric("martlet_handshakes_total{result=\"accepted\"}") == 1)
        #expect(try gateway.metric("martlet_engine_up") == 3)
        #expect(try gateway.metric("martlet_commands_total") == 3)
    }

    @Test func `a connection is kept for further requests, also when they come all at once`() throws {
        let gateway = try TestGateway()
        let socket = try RawSocket(port: gateway.adminPort)
        for _ in 0..<3 { #expect(try socket.get("/livez").body == "ok\n") }
        let paths = ["/livez", "/metrics", "/readyz", "/metrics", "/livez"]
        try socket.send(paths.map { "GET \($0) HTTP/1.1\r\nHost: x\r\n\r\n" }.joined())
        let bodies = try paths.map { _ in try socket.response().body }
        #expect(bodies[0] == "ok\n" && bodies[2] == "ok\n" && bodies[4] == "ok\n")
        #expect(bodies[1].contains("martlet_build_info") && bodies[3].contains("martlet_build_info"))
        let last = try socket.get("/livez", fields: ["Connection: close"])
        #expect(last.status == 200 && last.field("connection") == "close")
        #expect(socket.awaitEnd())
    }

    @Test func `HEAD gets the head alone`() throws {
        let gateway = try TestGateway()
        let socket = try RawSocket(port: gateway.adminPort)
        let head = try socket.get("/livez", method: "HEAD")
        #expect(head.status == 200 && head.field("content-length") == "3")
        #expect(try socket.get("/livez").body == "ok\n", "no body came in between")
        let page = try socket.get("/metrics", method: "HEAD")
        #expect(page.status == 200 && (Int(page.field("content-length") ?? "") ?? 0) > 1000)
        #expect(try socket.get("/livez").body == "ok\n")
        let missing = try socket.get("/nothing", method: "HEAD")
        #expect(missing.status == 404)
        #expect(socket.awaitEnd() && socket.buffer.isEmpty)
    }

    @Test func `what is not there is 404, other methods are 405 with what is served, bodies are 413`() throws {
        let gateway = try TestGateway()
        for path in ["/", "/livez/", "/livez2", "/LIVEZ", "/connection/websocket"] {
            #expect(try gateway.admin(path).status == 404, "\(path)")
        }
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"] {
            let answer = try gateway.admin("/livez", method: method)
            #expect(answer.status == 405 && answer.field("allow") == "GET, HEAD", "\(method)")
        }
        let socket = try RawSocket(port: gateway.adminPort)
        try socket.send("POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
        #expect(try socket.response().status == 413)
        #expect(socket.awaitEnd())
    }
}
