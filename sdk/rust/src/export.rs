//! From the component's exports to a [`Handler`](crate::Handler), and the conversions between the contract's types and ours.

/// What your package's `Cargo.toml` says about it, as a [`Description`](crate::Description): what `describe` gets.
#[macro_export]
macro_rules! about {
    () => {
        $crate::Description::new(::core::env!("CARGO_PKG_NAME"), ::core::env!("CARGO_PKG_VERSION"), ::core::env!("CARGO_PKG_DESCRIPTION"))
    };
}

/// Makes a type that implements [`Handler`](crate::Handler) the handler of this component. Once per crate; it does nothing natively.
/// `export!(Mine, prepared)` exports what [`Prepare`](crate::Prepare) adds, too.
#[macro_export]
macro_rules! export {
    ($handler:ty, prepared) => {
        $crate::export!($handler);

        // A world of its own, in the author's crate: the linker adds it to the other one. In this crate it would be part of every handler.
        #[cfg(target_arch = "wasm32")]
        #[doc(hidden)]
        mod __prepared {
            $crate::__private::wit_bindgen::generate!({
                inline: "package tenterhook:prepared; world prepared { export prepare: func(config: string, settings: string) -> result<_, string>; }",
                runtime_path: "::tenterhook_sdk::__private::wit_bindgen::rt",
            });
        }

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Prepared;

            impl __prepared::Guest for Prepared {
                fn prepare(
                    config: ::std::string::String,
                    settings: ::std::string::String,
                ) -> ::core::result::Result<(), ::std::string::String> {
                    $crate::__private::prepare::<$handler>(config, settings)
                }
            }

            __prepared::export!(Prepared with_types_in __prepared);
        };

        #[cfg(not(target_arch = "wasm32"))]
        const _: () = {
            const fn can_be_prepared<H: $crate::Prepare>() {}
            can_be_prepared::<$handler>();
        };
    };
    ($handler:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::__private::contract;

            struct Exported;

            impl contract::Guest for Exported {
                fn describe() -> contract::Description {
                    $crate::__private::describe::<$handler>($crate::about!())
                }

                fn validate(
                    config: ::std::string::String,
                    settings: ::std::string::String,
                ) -> ::core::result::Result<::std::string::String, ::std::vec::Vec<contract::Violation>> {
                    $crate::__private::validate::<$handler>(config, settings)
                }

                fn handle(
                    event: contract::Event,
                    attempt: contract::Attempt,
                    config: ::std::string::String,
                    settings: ::std::string::String,
                ) -> ::core::result::Result<contract::Answer, contract::Failure> {
                    $crate::__private::handle::<$handler>(event, attempt, config, settings)
                }
            }

            $crate::bindings::export_handler_component! { Exported with_types_in $crate::bindings }
        };

        #[cfg(not(target_arch = "wasm32"))]
        const _: () = {
            const fn is_a_handler<H: $crate::Handler>() {}
            is_a_handler::<$handler>();
        };
    };
}

#[cfg(target_arch = "wasm32")]
pub use conversions::{describe, handle, prepare, validate};

#[cfg(target_arch = "wasm32")]
mod conversions {
    use std::time::Duration;

    use crate::bindings::exports::tenterhook::hook::handler as contract;
    use crate::bindings::tenterhook::hook::types;
    use crate::{Answer, Attempt, Description, Event, Failure, Handler, HeaderValue, PathPart, Prepare, Request, Settings, Violations};

    /// `describe`.
    pub fn describe<H: Handler>(about: Description) -> contract::Description {
        let described = H::describe(about);
        contract::Description {
            name: described.name,
            version: described.version,
            summary: described.summary,
            config_schema: described.config_schema,
            wants_pings: described.wants_pings,
            asks: types::Asks {
                http_hosts: described.asks.http_hosts,
                secrets: described.asks.secrets,
                kv: described.asks.kv,
                emit: described.asks.emit,
            },
            extra: Vec::new(),
        }
    }

    /// `validate`.
    pub fn validate<H: Handler>(config: String, settings: String) -> Result<String, Vec<contract::Violation>> {
        let checked = H::validate(&config, &Settings::from_json(settings)).and_then(|checked| {
            serde_json::to_string(&checked).map_err(|error| Violations::whole(format!("cannot be written as JSON: {error}")))
        });
        checked.map_err(|violations| violations.into_iter().map(contract::Violation::from).collect())
    }

    /// `handle`.
    pub fn handle<H: Handler>(
        event: contract::Event,
        attempt: contract::Attempt,
        config: String,
        settings: String,
    ) -> Result<contract::Answer, contract::Failure> {
        let settings = Settings::from_json(settings);
        let read = serde_json::from_str(&config).map_err(|_| misfit::<H>(&config, &settings))?;
        H::handle(event.into(), attempt.into(), read, settings).map(Into::into).map_err(Into::into)
    }

    /// `prepare`.
    pub fn prepare<H: Prepare>(config: String, settings: String) -> Result<(), String> {
        H::prepare(&config, &Settings::from_json(settings))
    }

    /// A stored config that this version of the handler cannot read: no event of the hook can be handled, so they wait. Said in the words of
    /// `validate`, because a parser's message may show a value that is a secret.
    #[cold]
    fn misfit<H: Handler>(config: &str, settings: &Settings) -> Failure {
        match H::validate(config, settings) {
            Err(violations) => Failure::pause_hook(format!("the hook's config does not fit this version of the handler: {violations}")),
            Ok(_) => Failure::pause_hook("the hook's config was stored by another version of the handler: save the hook again"),
        }
    }

    impl From<crate::Violation> for contract::Violation {
        fn from(violation: crate::Violation) -> Self {
            let part = |part| match part {
                PathPart::Key(key) => types::PathPart::Key(key),
                PathPart::Index(index) => types::PathPart::Index(index),
            };
            Self { path: violation.path.into_iter().map(part).collect(), message: violation.message }
        }
    }

    impl From<contract::Event> for Event {
        fn from(event: contract::Event) -> Self {
            let contract::Event { id, source, name, time, data, attributes, extra } = event;
            Self { id, source, name, time, data, attributes, extra }
        }
    }

    impl From<contract::Attempt> for Attempt {
        fn from(attempt: contract::Attempt) -> Self {
            Self {
                delivery_id: attempt.delivery_id,
                hook_id: attempt.hook_id,
                number: attempt.number,
                first_tried: attempt.first_tried,
                deadline: Duration::from_millis(attempt.deadline_ms.into()),
                test: attempt.test,
                seed: attempt.seed,
                extra: attempt.extra,
            }
        }
    }

    impl From<Answer> for contract::Answer {
        fn from(answer: Answer) -> Self {
            match answer {
                Answer::Done(result) => Self::Done(result),
                Answer::Send(request) => Self::Send(request.into()),
            }
        }
    }

    impl From<Failure> for contract::Failure {
        fn from(failure: Failure) -> Self {
            match failure {
                Failure::Retry { reason, after } => Self::Retry(types::Retry { reason, after_ms: after.map(whole_millis) }),
                Failure::Reject(reason) => Self::Reject(reason),
                Failure::PauseHook(reason) => Self::PauseHook(reason),
            }
        }
    }

    impl From<Request> for types::Request {
        fn from(request: Request) -> Self {
            let narrow = |timeout| u32::try_from(whole_millis(timeout)).unwrap_or(u32::MAX);
            Self {
                method: request.method,
                url: request.url,
                headers: request.headers.into_iter().map(|(name, value)| (name, value.into())).collect(),
                body: request.body,
                options: types::RequestOptions {
                    verify_tls: request.verify_tls,
                    connect_timeout_ms: request.connect_timeout.map(narrow),
                    total_timeout_ms: request.total_timeout.map(narrow),
                },
                extra: Vec::new(),
            }
        }
    }

    impl From<HeaderValue> for types::Value {
        fn from(value: HeaderValue) -> Self {
            match value {
                HeaderValue::Text(bytes) => Self::Text(bytes),
                HeaderValue::Secret { prefix, name } => Self::Secret(types::SecretValue { prefix, name }),
            }
        }
    }

    /// Rounded up: a wait of less than a millisecond is still a wait.
    fn whole_millis(duration: Duration) -> u64 {
        u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }
}
