// What the tests of rooms with history share: a house whose rooms keep one, what clients say to return, and the texts
// that they are told.

import Bytes
import Testing
import Wire

@testable import Rooms

/// A house whose rooms keep history.
func historyHouse(
    loops: Int = 1, size: Int = 5, limit: Int = 300,
    _ adjust: (inout RoomRules, inout RoomOptions) -> Void = { _, _ in }
) -> House {
    House(loops: loops) {
        $0.isInsecure = true
        var options = RoomOptions()
        options.history = HistoryOptions(size: size, age: .seconds(60))
        options.recoveryLimit = limit
        adjust(&$0, &options)
        $0.setDefault(options)
    }
}

/// The epoch of the first room, and the one that follows it.
let life1 = "0000000000000001"
let life2 = "0000000000000002"

/// The reply to subscribe number `id` of a client that asked to recover.
func recovery(
    _ id: Int, offset: Int, epoch: String = life1, recovered: Bool, _ publications: [String] = []
) -> String {
    let list = publications.isEmpty ? "" : #""publications":[\#(publications.joined(separator: ","))],"#
    let flag = recovered ? #""recovered":true,"# : ""
    let top = offset == 0 ? "" : #""offset":\#(offset),"#
    return #"{"id":\#(id),"subscribe":{"recoverable":true,"epoch":"\#(epoch)",\#(list)\#(flag)\#(top)"#
        + #""positioned":true,"was_recovering":true}}"#
}

/// A publication of the only publisher, the house's first client.
func entry(_ offset: Int, _ data: Int? = nil) -> String {
    #"{"data":\#(data ?? offset),"info":{"client":"00000000-0000-4000-8000-000000000001"},"offset":\#(offset)}"#
}

/// A push of that publication.
func live(_ room: String, _ offset: Int) -> String {
    #"{"push":{"channel":"\#(room)","pub":\#(entry(offset))}}"#
}

/// The push that ends a subscription.
func told2500(_ room: String) -> String {
    #"{"push":{"channel":"\#(room)","unsubscribe":{"code":2500,"reason":"insufficient state"}}}"#
}

extension Client {
    func publish(_ room: String, _ data: ClosedRange<Int>) {
        for number in data { say(#"{"id":9,"publish":{"channel":"\#(room)","data":\#(number)}}"#) }
        house.settle()
    }

    func recover(_ room: String, from offset: UInt64, epoch: String = life1, id: Int = 2) -> [String] {
        ask(
            #"{"id":\#(id),"subscribe":{"channel":"\#(room)","recover":true,"offset":\#(offset),"epoch":"\#(epoch)"}}"#)
    }

    var pushes: [String] { heard.filter { $0.hasPrefix(#"{"push""#) } }
}

/// Everybody leaves, the linger time passes, and nothing is left.
func checkLeaves(_ house: House, _ clients: [Client], _ context: String) {
    for client in clients { client.close() }
    for engine in house.engines { engine.answerWaiting() }
    for _ in 0..<4 {
        house.settle()
        house.pass(.seconds(10))
    }
    house.settle()
    house.checkEmpty(context)
}
