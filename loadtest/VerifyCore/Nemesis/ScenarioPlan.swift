// Scenarios: runs that hold one promise against exact limits, instead of many faults against the invariants.

/// Which scenario, and how much of it.
package enum ScenarioPlan: Sendable, Equatable {
    /// A gateway's subscriber link goes deaf, so many times.
    case deaf(times: Int)
    /// One of a hundred pub/sub messages vanishes for so long, links are cut and restored meanwhile.
    case drops(seconds: Int)
    /// Redis restarts from a snapshot that is a hundred messages old, so many times.
    case snapshot(times: Int)
    /// Redis with its log of appends is killed and comes back, so many times; with a gateway at the same moment.
    case appendLog(times: Int, withGateway: Bool)
    /// So many clients drop and return at once, from so many processes of this tool.
    case storm(clients: Int, processes: Int)

    /// What carries it out.
    func make() -> any Scenario {
        switch self {
        case .deaf(let times): DeafScenario(times: times)
        case .drops(let seconds): DropsScenario(seconds: seconds)
        case .snapshot(let times): SnapshotScenario(times: times)
        case .appendLog(let times, let withGateway): AppendLogScenario(times: times, withGateway: withGateway)
        case .storm(let clients, let processes): StormScenario(clients: clients, processes: processes)
        }
    }
}

/// A script with demands of its own.
protocol Scenario {
    /// Changes the plan to what the scenario needs.
    func adapt(_ plan: inout RunPlan)
    /// Carries it out between calm and the end of the run; demands are noted with `must`.
    func perform(_ run: VerifyRun) throws
}
