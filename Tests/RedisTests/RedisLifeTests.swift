// What is read from INFO: a life when both ids are there in their form, else nothing.

import Bytes
import Fuzz
import Redis
import Testing

struct RedisLifeTests {
    private let run = "aa6818f3a6775c83c1853f345d8194d3db0fbd8f"
    private let history = "69313932517e38936ce5c855b43e07a44c3ebd39"

    private func life(_ server: String, _ replication: String) -> RedisLife? {
        bytes(server).withRaw { server in
            bytes(replication).withRaw { RedisLife(server: server, replication: $0) }
        }
    }

    @Test("A life is the beginning of SHA-1(run id + replication id)")
    func value() {
        let found = life(
            "# Server\r\nredis_version:7.0.15\r\nrun_id:\(run)\r\ntcp_port:0\r\n",
            "# Replication\r\nrole:master\r\nmaster_replid:\(history)\r\nmaster_replid2:\(run)\r\n")
        // printf %s RUN HISTORY | sha1sum
        #expect(found?.value == 0x6F60_53CE_88DA_6C62)
        #expect(found?.replication == bytes(history))
    }

    @Test("Another process is another life, and so is another history of the same process")
    func distinct() {
        var lives: [RedisLife?] = []
        for change in 0..<3 {
            var login = RedisLogin()
            if change == 1 { login.run = run }
            if change == 2 { login.replication = history }
            lives.append(RedisTests.life(of: login))
        }
        #expect(lives.allSatisfy { $0 != nil && $0?.value != 0 })
        #expect(lives[0] == RedisTests.life(of: RedisLogin()))
        #expect(lives[0] != lives[1] && lives[0] != lives[2] && lives[1] != lives[2])
        #expect(lives[0]?.value != lives[2]?.value)
    }

    @Test("Line ends and the place of a line do not matter")
    func lines() {
        let expected = life("run_id:\(run)\r\n", "master_replid:\(history)\r\n")
        #expect(expected != nil)
        #expect(life("run_id:\(run)", "master_replid:\(history)") == expected)
        #expect(life("a:b\nrun_id:\(run)\n", "\n\n\r\nmaster_replid:\(history)\nx") == expected)
        #expect(life("run_id:\(run)\r\nrun_id:\(history)\r\n", "master_replid:\(history)") == expected)
    }

    @Test("A server that does not say who it is has no life")
    func nonsense() {
        let short = String(run.dropLast())
        let texts = [
            "", "\n", "run_id", "run_id:", "run_id:\r\n", "run_id:\(short)", "run_id:\(run)0", "run_id:\(short)G",
            "run_id:\(run.uppercased())", "run_id: \(run)", "run_id:\(run) ", "run_id:\(run)\r\r", "RUN_ID:\(run)",
            "x_run_id:\(run)", " run_id:\(run)", "run_id:\(short)\0", "run_id=\(run)", "run_id:\(short)\nrun_id:\(run)",
            String(repeating: ":", count: 10_000),
        ]
        for text in texts {
            let replication = text.replacing("run_id", with: "master_replid").replacing(run, with: history)
            #expect(life(text, "master_replid:\(history)") == nil, "\(text)")
            #expect(life("run_id:\(run)", replication) == nil, "\(text)")
        }
        #expect(life("run_id:\(run)", "master_replid2:\(history)") == nil)
        #expect(life("master_replid:\(history)", "run_id:\(run)") == nil, "each id stands in its own section")
    }

    @Test("The role is what its line says")
    func role() {
        func role(_ text: String) -> String? {
            bytes(text).withRaw { RedisLife.role(in: $0).map { String(decoding: $0, as: UTF8.self) } }
        }
        #expect(role("# Replication\r\nrole:master\r\n") == "master")
        #expect(role("role:slave\nmaster_host:role:master\n") == "slave")
        #expect(role("xrole:master\r\n") == nil && role("") == nil)
        #expect(role("role:\r\n") == "")
    }
}
