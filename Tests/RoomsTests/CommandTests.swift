// The session's rules one by one: what may be said before `connect`, how commands share a frame, errors, limits, who
// may do what.

import Bytes
import Testing
import Wire

@testable import Rooms

@Suite struct ConnectTests {
    @Test func `an anonymous client is let in where that is allowed, and nobody with a token that cannot be checked`() {
        let cases: [(insecure: Bool, anonymous: Bool, token: Bool, error: ErrorCode?)] = [
            (true, false, false, nil), (true, false, true, nil), (true, true, true, nil),
            (false, true, false, nil), (false, true, true, .notAvailable), (false, false, true, .notAvailable),
            (false, false, false, .unauthorized),
        ]
        for item in cases {
            let house = House {
                $0.isInsecure = item.insecure
                $0.allowsAnonymous = item.anonymous
            }
            let client = house.open()
            let token = item.token ? #""token":"abc""# : ""
            let heard = client.ask(#"{"id":3,"connect":{\#(token)}}"#)
            if let error = item.error {
                #expect(heard == [errorReply(3, error)], "\(item)")
            } else {
                #expect(heard.first?.hasPrefix(#"{"id":3,"connect":{"client":"#) == true, "\(item)")
                #expect(heard.count == 1)
            }
        }
    }

    @Test func `every connection gets an id of its own`() {
        let house = House()
        let replies = (0..<10).map { _ in house.open().ask(#"{"id":1,"connect":{}}"#) }
        #expect(Set(replies).count == 10)
    }

    @Test func `a client whose pings are frames is promised no pings as messages`() {
        let house = House()
        let heard = house.open(pingFrames: true).ask(#"{"id":1,"connect":{}}"#)
        #expect(
            heard == [
                #"{"id":1,"connect":{"client":"00000000-0000-4000-8000-000000000001","version":"1.2","node":"n1"}}"#
            ])
    }

    @Test func `commands behind connect in the same frame are served in order`() {
        let house = House()
        let client = house.open()
        let heard = client.ask(
            #"{"id":1,"connect":{}}"# + "\n" + #"{"id":2,"subscribe":{"channel":"a"}}"# + "\n"
                + #"{"id":3,"publish":{"channel":"a","data":1}}"# + "\n" + #"{"id":4,"ping":{}}"# + "\n")
        #expect(heard.count == 5)
        #expect(heard.first?.hasPrefix(#"{"id":1,"connect""#) == true)
        #expect(
            Array(heard.dropFirst()) == [
                #"{"id":2,"subscribe":{}}"#, #"{"id":3,"publish":{}}"#, #"{"id":4,"ping":{}}"#,
                #"{"push":{"channel":"a","pub":{"data":1,"info":{"client":"00000000-0000-4000-8000-000000000001"}}}}"#,
            ])
    }

    @Test func `commands in front of connect close, and what is behind them is not served`() {
        let house = House()
        let client = house.open()
        #expect(client.ask(#"{"id":1,"ping":{}}"# + "\n" + #"{"id":2,"connect":{}}"#) == ["close 3501"])
    }

    @Test func `a malformed line closes; the lines before it are served, those behind it are not`() {
        let client = House().connected()
        let heard = client.ask(#"{"id":2,"ping":{}}"# + "\n\n" + #"{"id":3,"ping":{}}"#)
        #expect(heard == [#"{"id":2,"ping":{}}"#, "close 3501"])
    }

    @Test func `before connect at most 16 KiB may be said, all messages together`() {
        func connect(padding: Int) -> String {
            #"{"id":1,"connect":{"token":"\#(String(repeating: "t", count: padding))"}}"#
        }
        let overhead = connect(padding: 0).utf8.count
        let house = House()
        #expect(house.open().ask(connect(padding: 16_384 - overhead)).first?.hasPrefix(#"{"id":1,"conn"#) == true)
        #expect(house.open().ask(connect(padding: 16_385 - overhead)) == ["close 3501"])
    }

    @Test func `HS-18 before connect the engine is not asked and a silent client is closed as stale`() {
        let house = House()
        let client = house.open()
        #expect(client.timer == .seconds(10))
        client.fireTimer()
        #expect(client.heard == ["close 3502"])
        #expect(house.engines[0].subscribeCalls == 0 && house.engines[0].published.isEmpty)
        let refusing = House { $0.isInsecure = false }
        let refused = refusing.open()
        refused.ask(#"{"id":1,"connect":{}}"#)
        #expect(refused.timer == .seconds(10), "a refused client has the rest of its time")
        refused.forget()
        refused.fireTimer()
        #expect(refused.heard == ["close 3502"])
    }
}

@Suite struct LivenessTests {
    @Test func `the first ping comes in the second half of the interval, at moments that differ`() {
        let house = House()
        let delays = (0..<200).compactMap { _ in house.connected().timer }
        #expect(delays.allSatisfy { $0 >= .milliseconds(12_500) && $0 <= .seconds(25) })
        #expect(Set(delays.map { $0.wholeMilliseconds / 1000 }).count >= 10, "they are spread")
    }

    @Test func `a ping is answered by a pong in time, and the next one keeps the rhythm`() {
        let house = House()
        let client = house.connected()
        client.fireTimer()
        #expect(client.heard == ["{}"])
        #expect(client.timer == .seconds(8))
        house.pass(.seconds(3))
        #expect(client.ask("{}") == [])
        #expect(client.timer == .seconds(22), "an interval after the last ping, not after its pong")
        client.fireTimer()
        #expect(client.heard == ["{}"])
        #expect(client.ask("{}") == [])
    }

    @Test func `no pong in time closes with 3012`() {
        let client = House().connected()
        client.fireTimer()
        client.forget()
        client.fireTimer()
        #expect(client.heard == ["close 3012"])
    }

    @Test func `a pong that no ping asked for closes with 3501`() {
        let client = House().connected()
        #expect(client.ask("{}") == ["close 3501"])
        let twice = House().connected()
        twice.fireTimer()
        #expect(twice.ask("{}\n{}") == ["close 3501"], "one ping asks for one pong")
    }

    @Test func `other commands are no pongs`() {
        let client = House().connected()
        client.fireTimer()
        #expect(client.ask(#"{"id":2,"ping":{}}"#) == [#"{"id":2,"ping":{}}"#])
        client.forget()
        client.fireTimer()
        #expect(client.heard == ["close 3012"])
    }

    @Test func `ping frames replace pings as messages for whoever asked for them`() {
        let house = House()
        let client = house.connected(pingFrames: true)
        client.rooms.receivedPongFrame(client.word)
        client.fireTimer()
        #expect(client.told == [.pingFrame])
        client.rooms.receivedPongFrame(client.word)
        client.rooms.receivedPongFrame(client.word)
        client.forget()
        client.fireTimer()
        #expect(client.told == [.pingFrame], "the pong frame was taken")
        client.forget()
        #expect(client.ask("{}") == ["close 3501"], "a pong as message is not what the ping asked for")
        let ordinary = house.connected()
        ordinary.fireTimer()
        ordinary.rooms.receivedPongFrame(ordinary.word)
        ordinary.forget()
        ordinary.fireTimer()
        #expect(ordinary.heard == ["close 3012"], "nor is a pong frame what a ping as message asks for")
    }

    @Test func `timers of connections that are gone do nothing`() {
        let house = House()
        let client = house.connected()
        client.close()
        client.fireTimer()
        client.rooms.receivedPongFrame(client.word)
        client.say("{}")
        client.close()
        #expect(client.heard == [])
    }
}

@Suite struct LimitTests {
    @Test func `one room too many is error 106 until one is left`() {
        let house = House {
            $0.isInsecure = true
            $0.maxRooms = 3
        }
        let client = house.connected()
        for room in ["a", "b", "c"] { client.join(room) }
        #expect(client.ask(#"{"id":9,"subscribe":{"channel":"d"}}"#) == [errorReply(9, .limitExceeded)])
        #expect(client.ask(#"{"id":9,"subscribe":{"channel":"a"}}"#) == [errorReply(9, .alreadySubscribed)])
        client.ask(#"{"id":10,"unsubscribe":{"channel":"b"}}"#)
        client.join("d")
        client.close()
        house.pass(.seconds(10))
        house.pass(.seconds(10))
        house.checkEmpty("all left")
    }

    @Test func `a publication above the room's size is error 106`() {
        let house = House {
            $0.isInsecure = true
            $0.setDefault(RoomOptions(maxMessageSize: 10))
        }
        let client = house.connected()
        #expect(
            client.ask(#"{"id":2,"publish":{"channel":"a","data":"12345678"}}"#) == [#"{"id":2,"publish":{}}"#])
        #expect(
            client.ask(#"{"id":3,"publish":{"channel":"a","data":"123456789"}}"#) == [errorReply(3, .limitExceeded)])
    }

    @Test func `whoever has too many commands in flight is told to slow down, and pings go on`() {
        let house = House {
            $0.isInsecure = true
            $0.maxPendingCommands = 4
        }
        house.engines[0].publishMode = .later
        let client = house.connected()
        for id in 2...5 { #expect(client.ask(#"{"id":\#(id),"publish":{"channel":"a","data":1}}"#) == []) }
        #expect(
            client.ask(#"{"id":6,"publish":{"channel":"a","data":1}}"#) == [errorReply(6, .tooManyRequests)])
        #expect(client.ask(#"{"id":7,"ping":{}}"#) == [#"{"id":7,"ping":{}}"#])
        house.engines[0].answerWaiting()
        #expect(house.engines[0].published.count == 4)
        client.close()
    }

    @Test func `answers make room for further commands`() {
        let house = House {
            $0.isInsecure = true
            $0.maxPendingCommands = 2
        }
        house.engines[0].publishMode = .later
        let client = house.connected()
        for round in 0..<50 {
            client.forget()
            client.say(#"{"id":5,"publish":{"channel":"a","data":\#(round)}}"#)
            client.say(#"{"id":6,"publish":{"channel":"a","data":\#(round)}}"#)
            house.engines[0].answerWaiting()
            #expect(client.heard == [#"{"id":5,"publish":{}}"#, #"{"id":6,"publish":{}}"#])
        }
    }
}

@Suite struct PermissionTests {
    private static let all: [RoomPermissions] = [
        .subscribeForClient, .subscribeForAnonymous, .publishForSubscriber, .publishForClient, .publishForAnonymous,
        .presenceForSubscriber, .historyForClient, .userLimitedRooms,
    ]

    @Test func `every combination of options decides as its names say`() {
        for bits in 0..<(1 << Self.all.count) {
            var permissions: RoomPermissions = []
            for (index, permission) in Self.all.enumerated() where bits & (1 << index) != 0 {
                permissions.insert(permission)
            }
            for isUser in [false, true] {
                let house = House {
                    $0.isInsecure = false
                    $0.allowsAnonymous = true
                    $0.setDefault(RoomOptions(permissions: permissions))
                }
                let client = house.connected(user: isUser ? "42" : "")
                let context: Comment = "\(permissions.rawValue) user: \(isUser)"
                let mayPublishFromOutside = permissions.contains(isUser ? .publishForClient : .publishForAnonymous)
                #expect(
                    client.ask(#"{"id":2,"publish":{"channel":"a","data":1}}"#)
                        == [mayPublishFromOutside ? #"{"id":2,"publish":{}}"# : errorReply(2, .permissionDenied)],
                    context)
                let maySubscribe = permissions.contains(isUser ? .subscribeForClient : .subscribeForAnonymous)
                #expect(
                    client.ask(#"{"id":3,"subscribe":{"channel":"a"}}"#)
                        == [maySubscribe ? #"{"id":3,"subscribe":{}}"# : errorReply(3, .permissionDenied)], context)
                let mayPublish =
                    mayPublishFromOutside || (maySubscribe && permissions.contains(.publishForSubscriber))
                #expect(
                    client.ask(#"{"id":4,"publish":{"channel":"a","data":1}}"#).first
                        == (mayPublish ? #"{"id":4,"publish":{}}"# : errorReply(4, .permissionDenied)), context)
                let mayEnterLimited = isUser && permissions.contains(.userLimitedRooms)
                #expect(
                    client.ask(#"{"id":5,"subscribe":{"channel":"dialog#41,42"}}"#)
                        == [mayEnterLimited ? #"{"id":5,"subscribe":{}}"# : errorReply(5, .permissionDenied)],
                    context)
                #expect(
                    client.ask(#"{"id":6,"subscribe":{"channel":"dialog#41,43"}}"#)
                        == [errorReply(6, .permissionDenied)], context)
            }
        }
    }

    @Test func `a room's namespace decides, and one that is not configured is error 102`() {
        let house = House {
            $0.allowsAnonymous = true
            $0.setNamespace("open", RoomOptions(permissions: [.subscribeForAnonymous, .publishForAnonymous]))
            $0.setNamespace("shut", RoomOptions())
        }
        let client = house.connected()
        client.join("open:a")
        #expect(client.ask(#"{"id":3,"subscribe":{"channel":"shut:a"}}"#) == [errorReply(3, .permissionDenied)])
        #expect(client.ask(#"{"id":3,"subscribe":{"channel":"a"}}"#) == [errorReply(3, .permissionDenied)])
        for command in [
            #"{"id":4,"subscribe":{"channel":"other:a"}}"#, #"{"id":4,"publish":{"channel":"other:a","data":1}}"#,
            #"{"id":4,"presence":{"channel":"other:a"}}"#, #"{"id":4,"presence_stats":{"channel":"other:a"}}"#,
            #"{"id":4,"history":{"channel":"other:a"}}"#, #"{"id":4,"sub_refresh":{"channel":"other:a"}}"#,
        ] {
            #expect(client.ask(command) == [errorReply(4, .unknownRoom)], "\(command)")
        }
    }

    @Test func `without tokens a private room or a subscription token is error 108`() {
        let house = House {
            $0.allowsAnonymous = true
            $0.setDefault(RoomOptions(permissions: [.subscribeForAnonymous]))
        }
        let client = house.connected()
        #expect(client.ask(#"{"id":2,"subscribe":{"channel":"$a"}}"#) == [errorReply(2, .notAvailable)])
        #expect(client.ask(#"{"id":3,"subscribe":{"channel":"a","token":"t"}}"#) == [errorReply(3, .notAvailable)])
    }

    @Test func `an insecure server admits everybody everywhere`() {
        let client = House().connected()
        for room in ["a", "$a", "x:a", "a#1", "$x:a", "#42"] { client.join(room) }
    }

    @Test func `a subscription that still waits lets its client publish: it has been permitted`() {
        let house = House {
            $0.allowsAnonymous = true
            $0.setDefault(RoomOptions(permissions: [.subscribeForAnonymous, .publishForSubscriber]))
        }
        house.engines[0].subscribeMode = .later
        let client = house.connected()
        #expect(client.ask(#"{"id":2,"subscribe":{"channel":"a"}}"#) == [])
        #expect(client.ask(#"{"id":3,"publish":{"channel":"a","data":1}}"#) == [#"{"id":3,"publish":{}}"#])
        house.engines[0].answerWaiting()
        #expect(client.ask(#"{"id":4,"publish":{"channel":"a","data":1}}"#).first == #"{"id":4,"publish":{}}"#)
    }

    @Test func `publications carry who made them`() {
        let house = House()
        let ada = house.connected(user: "ada \"<b>\"")
        let listener = house.connected()
        listener.join("a")
        ada.ask(#"{"id":3,"publish":{"channel":"a","data":"hi"}}"#)
        #expect(
            listener.heard == [
                #"{"push":{"channel":"a","pub":{"data":"hi","info":{"user":"ada \"<b>\"","#
                    + #""client":"00000000-0000-4000-8000-000000000001"}}}}"#
            ])
    }
}
