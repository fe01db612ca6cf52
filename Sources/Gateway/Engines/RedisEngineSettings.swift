// What the Redis engine needs to know, made from the configuration once and shared by the engines of all loops.

package import Redis

/// Settings of the Redis engine.
package struct RedisEngineSettings: Sendable {
    /// Where Redis is.
    package let endpoint: RedisEndpoint
    /// Login, timeouts and bounds of the links.
    package let link: LinkSettings
    /// Names of keys and channels.
    package let names: RedisNames
    /// Largest publication in bytes, its members all told. A larger one is refused when it is published (nobody would
    /// get it), and skipped and counted when it comes out of Redis.
    package let publicationBytes: Int
    /// How long a node is waited for that was heard of last; the same on every node.
    package let lease: Duration
    /// Time between two beats: a lease is to outlive some that are lost.
    package let beatInterval: Duration

    /// Settings whose links have room for publications of `publicationBytes`, which is to be above what a client may
    /// send, since the sender's information comes on top. Redis itself drops subscribers that have more than 32 MiB to
    /// read (`client-output-buffer-limit pubsub`), so more than a few MiB asks for trouble there.
    package init(
        endpoint: RedisEndpoint, link: LinkSettings, names: RedisNames, publicationBytes: Int = 1024 * 1024,
        lease: Duration = .seconds(5), beatInterval: Duration = .seconds(1)
    ) {
        self.endpoint = endpoint
        self.names = names
        self.publicationBytes = publicationBytes
        self.lease = lease
        self.beatInterval = beatInterval
        var link = link
        // One publication must never cost the link: twice its size passes, and is skipped if need be.
        let bulk = max(link.limits.replies.bulkBytes, 2 * publicationBytes)
        link.limits.replies.bulkBytes = bulk
        link.limits.replies.replyBytes = max(link.limits.replies.replyBytes, 2 * bulk)
        link.limits.outputBytes = max(link.limits.outputBytes, 2 * publicationBytes)
        self.link = link
    }
}
