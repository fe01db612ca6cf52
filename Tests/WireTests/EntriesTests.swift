// The maps and lists inside commands and results, walked one entry at a time.

import Bytes
import Testing
import Wire

@Suite struct EntriesTests {
    private func subscriptions(_ connect: String, limit: Int = 10) -> [String] {
        var scratch = ByteBuffer()
        var found: [String] = []
        do throws(WireError) {
            let command = try JSONCodec.command(lasting(#"{"id":1,"connect":{"# + connect + "}}"), scratch: &scratch)
            guard case .connect(let request) = command.request else { return ["no connect"] }
            var entries = ByteBuffer()
            var walk = JSONCodec.SubscriptionRequests(request.subscriptions, limit: limit)
            while let request = try walk.next(scratch: &scratch) {
                entries.truncate(to: 0)
                JSONCodec.appendEntry(request, to: &entries)
                found.append(text(entries.bytes))
            }
        } catch {
            found.append("\(error)")
        }
        return found
    }

    @Test("subscriptions of connect come one by one, named by their key")
    func subscriptionMap() {
        #expect(subscriptions("") == [])
        #expect(subscriptions(#""subs":{}"#) == [])
        #expect(subscriptions(#""subs":{"a":{}}"#) == [#""a":{}"#])
        #expect(
            subscriptions(
                #""subs": { "a" : {"recover":true,"offset":3,"epoch":"x","channel":"liar"} , "\u0062":null } "#)
                == [#""a":{"recover":true,"epoch":"x","offset":3}"#, #""b":{}"#])
    }

    @Test("more subscriptions than allowed end the walk, and so does a wrong type")
    func subscriptionLimits() {
        #expect(
            subscriptions(#""subs":{"a":{},"b":{},"c":{}}"#, limit: 2) == [#""a":{}"#, #""b":{}"#, "tooManyEntries"])
        #expect(subscriptions(#""subs":{"a":{},"b":{}}"#, limit: 2).count == 2)
        #expect(subscriptions(#""subs":{"a":{},"b":7}"#) == [#""a":{}"#, "wrongType"])
        #expect(subscriptions(#""subs":{"a":{"recover":true,"recover":true}}"#) == ["duplicateField"])
        #expect(subscriptions(#""subs":{"a":{},}"#) == ["syntax"])
    }

    @Test("a map that was never validated is still walked without harm")
    func unvalidated() {
        for entries in [#""a""#, #""a":"#, #""a":"b","#, #""a":"b" "c":"d""#, "a", ",", #""a":"b"}"#] {
            var scratch = ByteBuffer()
            var walk = JSONCodec.StringPairs(lasting(entries), limit: 10)
            #expect(throws: WireError.self) {
                while try walk.next(scratch: &scratch) != nil {}
            }
        }
    }

    @Test("headers are pairs of strings")
    func headers() throws {
        var scratch = ByteBuffer()
        var entries = ByteBuffer()
        JSONCodec.appendEntry(name: lasting("martlet-close-hints"), value: lasting("1"), to: &entries)
        JSONCodec.appendEntry(name: lasting("q\""), value: lasting("\n"), to: &entries)
        #expect(text(entries.bytes) == #""martlet-close-hints":"1","q\"":"\n""#)
        var walk = JSONCodec.StringPairs(entries.bytes, limit: 10)
        var found: [String] = []
        while let (name, value) = try walk.next(scratch: &scratch) { found += [text(name), text(value)] }
        #expect(found == ["martlet-close-hints", "1", "q\"", "\n"])
    }

    @Test("publications, members and server-side subscriptions are walked as they were appended")
    func results() throws {
        var scratch = ByteBuffer()
        var list = ByteBuffer()
        for offset in 1...3 {
            JSONCodec.appendEntry(fields: lasting(#""data":{"n":1}"#), offset: UInt64(offset), to: &list)
        }
        #expect(text(list.bytes).hasPrefix(#"{"data":{"n":1},"offset":1},{"data""#))
        var publications = JSONCodec.Publications(list.bytes, limit: 300)
        var offsets: [UInt64] = []
        while let publication = try publications.next(scratch: &scratch) { offsets.append(publication.offset) }
        #expect(offsets == [1, 2, 3])

        var map = ByteBuffer()
        JSONCodec.appendEntry(client: lasting("c1"), ClientInfo(user: lasting("ada"), client: lasting("c1")), to: &map)
        JSONCodec.appendEntry(client: lasting("c2"), ClientInfo(user: .empty, client: .empty), to: &map)
        #expect(text(map.bytes) == #""c1":{"user":"ada","client":"c1"},"c2":{}"#)
        var members = JSONCodec.Members(map.bytes, limit: 10)
        var clients: [String] = []
        while let info = try members.next(scratch: &scratch) {
            clients.append(text(info.user) + "/" + text(info.client))
        }
        #expect(clients == ["ada/c1", "/c2"])

        var subscriptions = ByteBuffer()
        var result = SubscribeResult()
        result.publications = list.bytes
        result.recovered = true
        JSONCodec.appendEntry(room: lasting("r"), result, to: &subscriptions)
        var walk = JSONCodec.SubscriptionResults(subscriptions.bytes, limit: 1)
        let first = try walk.next(scratch: &scratch)
        #expect(first.map { text($0.room) } == "r")
        #expect(first?.result.recovered == true)
        #expect(first.map { text($0.result.publications) } == text(list.bytes))
        #expect(try walk.next(scratch: &scratch) == nil)
    }
}
