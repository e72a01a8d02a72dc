//! Which subprotocol a socket speaks, out of those that the client offers.

/// The protocol of this module, as `Sec-WebSocket-Protocol` names it. The name `graphql-ws` is that of its
/// predecessor, which is another protocol and not spoken here.
pub const GRAPHQL_TRANSPORT_WS: &str = "graphql-transport-ws";

/// The subprotocol to answer with, or `None` to answer with none and close with 4406.
///
/// `offered` is one item for each header or each value: servers differ in whether they split at commas, so both are
/// taken. Names are compared exactly (RFC 6455, section 4.1).
pub fn choose<'a>(offered: impl IntoIterator<Item = &'a str>) -> Option<&'static str> {
    let mut names = offered.into_iter().flat_map(|header| header.split(',')).map(str::trim);
    names.any(|name| name == GRAPHQL_TRANSPORT_WS).then_some(GRAPHQL_TRANSPORT_WS)
}

#[cfg(test)]
mod tests {
    use super::{GRAPHQL_TRANSPORT_WS, choose};
    use crate::session::Close;

    #[test]
    fn rule_01_the_one_protocol_we_speak_is_echoed() {
        assert_eq!(choose(["graphql-transport-ws"]), Some(GRAPHQL_TRANSPORT_WS));
    }

    #[test]
    fn rule_02_it_is_picked_out_of_several_wherever_it_stands() {
        assert_eq!(choose(["graphql-ws", "graphql-transport-ws"]), Some(GRAPHQL_TRANSPORT_WS));
        assert_eq!(choose(["graphql-transport-ws", "graphql-ws"]), Some(GRAPHQL_TRANSPORT_WS));
    }

    #[test]
    fn rule_03_comma_joined_values_and_several_headers_are_the_same() {
        assert_eq!(choose(["graphql-ws, graphql-transport-ws"]), Some(GRAPHQL_TRANSPORT_WS));
        assert_eq!(choose(["a,b", "c ,\tgraphql-transport-ws ,d"]), Some(GRAPHQL_TRANSPORT_WS));
    }

    #[test]
    fn rule_04_nothing_or_only_unknown_ones_is_not_acceptable() {
        for offered in [&[][..], &[""], &["graphql-ws"], &["GRAPHQL-TRANSPORT-WS"], &["xgraphql-transport-ws, mqtt"]] {
            assert_eq!(choose(offered.iter().copied()), None, "{offered:?}");
        }
        assert_eq!(Close::subprotocol_not_acceptable().code().code(), 4406);
    }
}
