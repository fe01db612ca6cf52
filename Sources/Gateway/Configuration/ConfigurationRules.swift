// What must hold between settings that are fine one by one, and the rule on public addresses. Each refusal names the
// way out.
//
// Called once at start, after every single value has been checked.

import Rooms

enum ConfigurationRules {
    static func problems(of configuration: GatewayConfiguration) -> [ConfigurationProblem] {
        [listeners(configuration), exposure(configuration), proxies(configuration), heartbeat(configuration.client)]
            .compactMap { $0 }
            + sizes(configuration)
    }

    private static func listeners(_ configuration: GatewayConfiguration) -> ConfigurationProblem? {
        if configuration.port == -1 {
            return problem("port", "-1 leaves no listener for clients; give a port, or 0 for a free one")
        }
        let admin = configuration.admin
        if configuration.port > 0, configuration.port == admin.port, configuration.host == admin.host {
            return problem("admin.port", "\(admin.port) is the client listener's port, too; give another one, or -1")
        }
        return nil
    }

    /// A listener that other machines reach must be encrypted by somebody; until tokens exist nobody is authenticated.
    private static func exposure(_ configuration: GatewayConfiguration) -> ConfigurationProblem? {
        guard !SettingChecks.isLoopback(configuration.host), !configuration.behindProxy else { return nil }
        return problem(
            "host",
            "\(configuration.host) can be reached from other machines, without authentication and without TLS; "
                + "keep --host 127.0.0.1, or pass --behind-proxy if a proxy does TLS in front or the network is private"
        )
    }

    private static func proxies(_ configuration: GatewayConfiguration) -> ConfigurationProblem? {
        guard configuration.proxyProtocol, configuration.trustedProxies.isEmpty else { return nil }
        return problem(
            "proxyProtocol", "needs trustedProxies: without it nobody could connect; name the balancers there")
    }

    private static func heartbeat(_ client: GatewayConfiguration.Client) -> ConfigurationProblem? {
        guard client.pongTimeout >= client.pingInterval else { return nil }
        return problem(
            "client.pongTimeout",
            "\(ConfigurationUnits.text(client.pongTimeout)) must be shorter than client.pingInterval, "
                + ConfigurationUnits.text(client.pingInterval))
    }

    private static func sizes(_ configuration: GatewayConfiguration) -> [ConfigurationProblem] {
        let client = configuration.client
        var problems: [ConfigurationProblem] = []
        if client.maxMessageSize > client.queueMaxSize {
            problems.append(
                problem(
                    "client.maxMessageSize",
                    "\(ConfigurationUnits.text(size: client.maxMessageSize)) must not be above client.queueMaxSize, "
                        + "\(ConfigurationUnits.text(size: client.queueMaxSize)): it could never be delivered"
                ))
        }
        // Redis closes a subscriber's connection when 32 MiB wait for it (client-output-buffer-limit): publications of
        // that order would cut every instance off.
        let redisLimit = 8 << 20
        if configuration.engine.redis.url != nil, client.maxMessageSize > redisLimit {
            problems.append(
                problem(
                    "client.maxMessageSize",
                    "\(ConfigurationUnits.text(size: client.maxMessageSize)) must not be above "
                        + "\(ConfigurationUnits.text(size: redisLimit)) with engine.redis.url: Redis cuts off "
                        + "subscribers for whom that much waits"))
        }
        let named = configuration.rooms.namespaces.sorted { $0.key < $1.key }.map { ("namespaces." + $0.key, $0.value) }
        for (name, options) in [("default", configuration.rooms.default)] + named {
            if let text = historyProblem(options) {
                problems.append(problem("rooms.\(name).historySize", text))
            }
            if options.forcePushJoinLeave, !options.joinLeave {
                problems.append(
                    problem("rooms.\(name).forcePushJoinLeave", "needs joinLeave: without it there is nothing to push"))
            }
            problems += rates(name, options)
            let largest = options.maxMessageSize ?? client.maxMessageSize
            if options.historySize > 0, largest > client.queueMaxSize / 2 {
                problems.append(
                    problem(
                        "rooms.\(name).historySize",
                        "a reply with history holds half of client.queueMaxSize, "
                            + "\(ConfigurationUnits.text(size: client.queueMaxSize)): raise that, or lower "
                            + "maxMessageSize"))
            }
            guard let limit = options.maxMessageSize, limit > client.maxMessageSize else { continue }
            problems.append(
                problem(
                    "rooms.\(name).maxMessageSize",
                    "\(ConfigurationUnits.text(size: limit)) must not be above client.maxMessageSize, "
                        + ConfigurationUnits.text(size: client.maxMessageSize)))
        }
        return problems
    }

    private static func historyProblem(_ options: GatewayConfiguration.RoomOptions) -> String? {
        guard (options.historySize > 0) != (options.historyTTL > .zero) else { return nil }
        return "and historyTTL go together: give both, or neither"
    }

    private static func rates(_ name: String, _ options: GatewayConfiguration.RoomOptions) -> [ConfigurationProblem] {
        var problems: [ConfigurationProblem] = []
        if options.rate == nil, options.burst != nil {
            problems.append(problem("rooms.\(name).burst", "and rate go together: a burst alone limits nothing"))
        }
        let limits = [("rate", options.rate, options.burst), ("userRate", options.userRate, nil)]
        for case (let key, let rate?, let burst) in limits where RateLimit(rate, burst: burst) == nil {
            problems.append(
                problem(
                    "rooms.\(name).\(key)",
                    "\(ConfigurationUnits.text(rate)) must not be above 1000000/s, nor may "
                        + "\(burst ?? rate.count) publications at that rate take more than 30 days"))
        }
        return problems
    }

    private static func problem(_ key: String, _ text: String) -> ConfigurationProblem {
        ConfigurationProblem(name: key, text: text, origin: "")
    }
}
