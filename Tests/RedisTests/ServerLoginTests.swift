// The login as a real Redis answers it: the life that is read from it changes with the process and its history, and
// only then.

import Bytes
import Redis
import Testing

/// Says the login on a new connection.
private func login(
    _ server: ScriptServer, _ purpose: LinkHandshake.Purpose = .commands, user: String? = nil
) throws -> Result<RedisLife, LinkFault> {
    var settings = LinkSettings()
    settings.user = user
    settings.password = user
    let client = try server.client()
    var handshake = LinkHandshake(settings, for: purpose)
    try client.send { handshake.begin(in: &$0) }
    for _ in handshake.steps {
        let fault: LinkFault? = try client.receive { reply in
            do throws(LinkFault) {
                _ = try handshake.take(reply)
                return nil
            } catch { return error }
        }
        if let fault { return .failure(fault) }
    }
    return .success(try #require(handshake.life))
}

struct ServerLoginTests {
    @Test("Every link to one server finds the same life; after a restart all find another")
    func life() throws {
        let server = try ScriptServer()
        let first = try login(server).get()
        #expect(try login(server, .subscriptions).get() == first && login(server).get() == first)
        #expect(first.value != 0 && first.replication.count == 40)
        server.kill()
        try server.start()
        let second = try login(server).get()
        #expect(second.value != first.value && second.replication != first.replication)
    }

    @Test("A replica is refused; promoted, it lives another life than before, in the same process")
    func replica() throws {
        let server = try ScriptServer()
        let first = try login(server).get()
        let client = try server.client()
        // Nobody listens there: the replica waits for its master.
        try client.command("REPLICAOF", "127.0.0.1", "1")
        for purpose in [LinkHandshake.Purpose.commands, .subscriptions] {
            #expect(try login(server, purpose) == .failure(.refused(.readOnly)))
        }
        try client.command("REPLICAOF", "NO", "ONE")
        let second = try login(server).get()
        #expect(second.value != first.value)
    }

    @Test("A user who may not ask INFO, or not load scripts, is refused by name")
    func permissions() throws {
        let server = try ScriptServer()
        let client = try server.client()
        for (user, rules) in [("blind", ["+@all", "-info"]), ("mute", ["+@all", "-script"]), ("good", ["+@all"])] {
            let rules = ["ACL", "SETUSER", user, "on", ">\(user)", "~*", "&*"] + rules
            #expect(try client.command(rules.map { Array($0.utf8) }).string == "OK")
        }
        #expect(try login(server, user: "blind") == .failure(.refused(.noPermission)))
        #expect(try login(server, user: "mute") == .failure(.refused(.noPermission)))
        #expect(try login(server, .subscriptions, user: "mute").get() == login(server, user: "good").get())
    }
}
