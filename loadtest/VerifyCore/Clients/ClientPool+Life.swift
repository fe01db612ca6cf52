// The life of restless subscribers, a function of the seed: away inside the window, away past it, not reading, frozen,
// lying at the next resume, moving on. And what faults do to clients. Part of ClientPool; on its loop.

package import Bytes
import Reactor

extension ClientPool {
    /// Steps a client's life.
    func live(_ client: VerifyClient, _ now: MonotonicTime) {
        switch client.life {
        case .live: break
        case .offline(let until) where until <= now:
            client.life = .live
            connect(client)
        case .notReading(let until) where until <= now: wake(client)
        case .frozen(let until) where until <= now: wake(client)
        case .slow(let until, _) where until <= now: wake(client)
        case .slow(_, let rate): refill(client, rate)
        default: break
        }
        guard isRestless, client.isRestless, client.life == .live, client.stage == .joined, now >= client.nextLifeAt
        else { return }
        client.nextLifeAt = now + .milliseconds(Int64.random(in: 4000...12_000, using: &client.random))
        choose(client, now)
    }

    private func choose(_ client: VerifyClient, _ now: MonotonicTime) {
        func later(_ range: ClosedRange<Int64>) -> MonotonicTime {
            now + .milliseconds(Int64.random(in: range, using: &client.random))
        }
        let dice = client.random.next() % 100
        switch dice {
        case 0..<45:
            count("offline")
            client.life = .offline(until: later(100...1500))
            drop(client)
        case 45..<55:
            count("offline past the window")
            client.life = .offline(until: later(12_000...14_000))
            drop(client)
        case 55..<65:
            count("not reading")
            setNotReading(client, .notReading(until: later(500...2000)))
        case 65..<70:
            count("frozen")
            setNotReading(client, .frozen(until: later(8000...9000)))
        case 70..<85:
            count("lies")
            client.claim = dice.isMultiple(of: 2) ? .forgedEpoch : .futureOffset
            client.life = .offline(until: later(100...500))
            drop(client)
        default:
            count("moves")
            drop(client)
        }
    }

    private func count(_ name: String) { figures.lives[name, default: 0] += 1 }

    private func setNotReading(_ client: VerifyClient, _ life: ClientLife) {
        client.life = life
        doubt(client)
        guard let id = client.id else { return }
        client.isPausedForReading = true
        loop.pauseReading(id)
    }

    /// A client that does not read learns late that it was turned out.
    private func doubt(_ client: VerifyClient) {
        guard let subscriber = client.subscriber else { return }
        switch client.life {
        case .notReading(let until), .frozen(let until), .slow(let until, _):
            checker.doubt(subscriber, until: until + .seconds(10))
        case .live, .offline: break
        }
    }

    private func wake(_ client: VerifyClient) {
        client.life = .live
        client.lastHeard = loop.now
        client.untimedUntil = loop.now + .seconds(2)
        if client.isPausedForReading, let id = client.id { loop.resumeReading(id) }
        client.isPausedForReading = false
        if client.stage == .idle { connect(client) }
    }

    /// Counts bytes against a slow reader's rate.
    func throttle(_ client: VerifyClient, _ id: Reactor.ConnectionID, _ bytes: Int, _ rate: Int) {
        client.readCredit -= Double(bytes)
        if client.readCredit < 0, !client.isPausedForReading {
            client.isPausedForReading = true
            loop.pauseReading(id)
        }
    }

    private func refill(_ client: VerifyClient, _ rate: Int) {
        client.readCredit = min(client.readCredit + Double(rate) * 0.05, Double(rate))
        if client.readCredit >= 0, client.isPausedForReading, let id = client.id {
            client.isPausedForReading = false
            loop.resumeReading(id)
        }
    }

    // MARK: For faults, mutants and the end

    /// Ends everybody's absence and sleep.
    package func wakeEverybody() { for client in clients where client.life != .live { wake(client) } }

    /// From the next connection on all clients go through the proxies of their gateways.
    package func proxyEverybody() { for client in clients { client.isProxied = true } }

    /// A tenth of the subscribers: of those that are connected and do not come and go by themselves.
    package func victims(from first: Int) -> [Int] {
        let steady = clients.filter {
            $0.subscriber != nil && !$0.isRestless && $0.stage == .joined && $0.life == .live
        }
        let wanted = max(1, plan.subscribers / 10)
        let step = max(1, steady.count / wanted)
        return stride(from: first % step, to: steady.count, by: step).prefix(wanted).map { steady[$0].number }
    }

    /// They read `rate` bytes a second.
    package func slowDown(_ numbers: [Int], rate: Int, until: MonotonicTime) {
        for number in numbers {
            clients[number].life = .slow(until: until, rate: rate)
            clients[number].readCredit = 0
            doubt(clients[number])
        }
    }

    /// They neither read nor write.
    package func freeze(_ numbers: [Int], until: MonotonicTime) {
        for number in numbers { setNotReading(clients[number], .frozen(until: until)) }
    }

    /// Those that have fled to another gateway go back to their own, as a balancer would have it: a gateway without
    /// clients suffers nothing. Returns how many.
    package func rebalance() -> Int {
        var count = 0
        for client in clients where client.role != .reader && !client.isRestless && client.stage == .joined {
            let home = client.number % directory.gatewayCount
            guard client.gateway != home, client.life == .live else { continue }
            // An end moves a client on to the next one.
            client.gateway = (home + directory.gatewayCount - 1) % directory.gatewayCount
            drop(client)
            count += 1
        }
        return count
    }

    /// They drop their connections and stay away until `comeBack`.
    package func leave(_ numbers: [Int]) {
        for number in numbers {
            clients[number].life = .offline(until: MonotonicTime(nanoseconds: .max))
            drop(clients[number])
        }
    }

    /// They connect again, and resume from where they were.
    package func comeBack(_ numbers: [Int]) {
        for number in numbers where clients[number].isOffline { wake(clients[number]) }
    }

    /// All subscribers drop their connections at once and come back.
    package func storm() -> Int {
        var count = 0
        for client in clients where client.subscriber != nil && client.stage == .joined && client.life == .live {
            drop(client)
            count += 1
        }
        return count
    }

    /// Those of `numbers` that are connected and in all their rooms.
    package func connected(_ numbers: [Int]) -> Int {
        numbers.count { clients[$0].stage == .joined && clients[$0].isComplete }
    }
}
