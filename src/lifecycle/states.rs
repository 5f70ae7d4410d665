//! One notation for state tables, from which both the data and the type come.

/// Declares a kind's states: the enum that decisions match on and the table that everybody else reads.
macro_rules! states {
    (
        $(#[$doc:meta])*
        $name:ident of $kind:expr;
        $( $(#[$state_doc:meta])* $state:ident => [$($next:ident)*], $deadline:expr, $billed:literal; )+
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum $name {
            $( $(#[$state_doc])* $state, )+
        }

        /// The state table: what may follow what, for how long, and what is billed.
        pub const TABLE: $crate::domain::Table = $crate::domain::Table {
            kind: $kind,
            states: &[
                $( $crate::domain::StateRow {
                    name: stringify!($state),
                    next: &[$(stringify!($next)),*],
                    deadline: $deadline,
                    billed: $billed,
                }, )+
            ],
        };

        impl $name {
            /// The state's name, as users and billing see it.
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$state => stringify!($state), )+ }
            }

            /// The state of that name, if this kind has one.
            pub fn named(state: &$crate::domain::State) -> Option<Self> {
                match state.as_str() { $( stringify!($state) => Some(Self::$state), )+ _ => None }
            }
        }

        impl From<$name> for $crate::domain::State {
            fn from(state: $name) -> Self {
                Self::of(state.as_str())
            }
        }
    };
}

pub(super) use states;
