// What the Redis engine needs to know, made from the configuration once and shared by the engines of all loops.

package import Redis

/// Settings of the Redis engine.
package struct RedisEngineSettings: Sendable {
    /// Where Redis is.
    package var endpoint: RedisEndpoint
    /// Login, timeouts and bounds of the links.
    package var link: LinkSettings
    /// Names of keys and channels.
    package var names: RedisNames
    /// Largest publication that is taken from Redis, in bytes; a larger one is skipped and counted.
    package var publicationBytes = 1024 * 1024

    package init(endpoint: RedisEndpoint, link: LinkSettings, names: RedisNames) {
        self.endpoint = endpoint
        self.link = link
        self.names = names
    }
}
