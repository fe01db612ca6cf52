// What a sound master answers to a link's login, so that targets and tests get behind it. Each part can be replaced by
// what a faulty server would say.

package import Redis

/// A master's side of a login without password and database.
package struct RedisLogin {
    /// The process' run id.
    package var run = String(repeating: "0123456789", count: 4)
    /// The replication id.
    package var replication = String(repeating: "fedcba9876", count: 4)
    /// The part that it plays.
    package var role = "master"

    package init() {}

    /// The answer to INFO server.
    package var server: String {
        "# Server\r\nredis_version:7.0.15\r\nprocess_id:4711\r\nrun_id:\(run)\r\ntcp_port:6379\r\nconfig_file:\r\n"
    }

    /// The answer to INFO replication.
    package var information: String {
        "# Replication\r\nrole:\(role)\r\nconnected_slaves:0\r\nmaster_replid:\(replication)\r\n"
            + "master_replid2:0000000000000000000000000000000000000000\r\nmaster_repl_offset:0\r\n"
    }

    /// `text` as a bulk string.
    package static func bulk(_ text: String) -> String { "$\(text.utf8.count)\r\n\(text)\r\n" }

    /// One reply for each command of the login, in order.
    package func replies(for purpose: LinkHandshake.Purpose) -> [String] {
        var replies = ["+OK\r\n", RedisLogin.bulk(server), RedisLogin.bulk(information)]
        if purpose == .commands {
            replies += RedisScript.all.map { RedisLogin.bulk(String(decoding: $0.sha, as: UTF8.self)) }
        }
        return replies + ["+PONG\r\n"]
    }

    /// The confirmation of a subscription.
    package static func confirmation(_ channel: String) -> String {
        "*3\r\n" + bulk("subscribe") + bulk(channel) + ":1\r\n"
    }
}
