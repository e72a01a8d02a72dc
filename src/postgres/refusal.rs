//! What an error of the server means.

use super::error::{ConnectionError, ServerError};

/// Encodings in which a text may have bytes that are not valid characters: what PostgreSQL then sends is not UTF-8.
const UNKNOWN: [&str; 2] = ["SQL_ASCII", "MULE_INTERNAL"];

/// Refuses a database of which one row could end the stream for all.
pub(crate) fn check_encoding(place: &str, encoding: Option<&str>) -> Result<(), ConnectionError> {
    match encoding {
        Some(encoding) if UNKNOWN.contains(&encoding) => {
            Err(ConnectionError::EncodingNotSupported { place: place.to_owned(), encoding: encoding.to_owned() })
        }
        _ => Ok(()),
    }
}

/// By its SQLSTATE, as far as that is enough to know.
pub(crate) fn classify(place: String, user: &str, database: &str, server: ServerError) -> ConnectionError {
    let (user, database, server) = (user.to_owned(), database.to_owned(), Box::new(server));
    if server.message.contains("unsupported startup parameter") {
        return ConnectionError::PoolerBetween { place, reason: server.message };
    }
    match server.sqlstate.as_str() {
        "28P01" | "28000" => ConnectionError::AuthenticationFailed { place, user, reason: server.to_string() },
        "3D000" => ConnectionError::DatabaseMissing { place, database },
        "42501" => ConnectionError::ReplicationNotPermitted { place, user, server },
        // The same SQLSTATE is used for connections; the setting's name is in the message in every language.
        "53300" if server.message.contains("max_wal_senders") => ConnectionError::SendersExhausted { place, server },
        "53300" => ConnectionError::ConnectionsExhausted { place, server },
        "57P01" | "57P02" | "57P03" => ConnectionError::ServerUnavailable { place, server },
        _ => ConnectionError::Server { place, server },
    }
}

#[cfg(test)]
mod tests {
    use super::{check_encoding, classify};
    use crate::postgres::ServerError;

    #[test]
    fn a_pooler_is_known_by_what_it_refuses() {
        for message in
            ["unsupported startup parameter: statement_timeout", "unsupported startup parameter in options: role"]
        {
            let server =
                ServerError { message: message.to_owned(), sqlstate: "08P01".to_owned(), ..ServerError::default() };
            let error = classify("here".to_owned(), "app", "shop", server);
            assert!(error.code() == "POOLER_BETWEEN" && !error.is_transient(), "{error}");
            assert!(error.to_string().contains("PgBouncer") && error.to_string().contains(message), "{error}");
        }
    }

    #[test]
    fn an_encoding_without_a_meaning_is_refused() {
        assert_eq!(check_encoding("here", Some("SQL_ASCII")).unwrap_err().code(), "ENCODING_NOT_SUPPORTED");
        assert!(check_encoding("here", Some("LATIN1")).is_ok() && check_encoding("here", None).is_ok());
    }
}
