//! What a realm says beside its users: roles, groups, and what clients have in common.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value};

/// Clients that every realm has.
pub(super) const OWN_CLIENTS: [&str; 6] = [
    "account",
    "account-console",
    "admin-cli",
    "broker",
    "realm-management",
    "security-admin-console",
];
/// Realm roles that every realm has, beside `default-roles-REALM`.
const OWN_ROLES: [&str; 2] = ["offline_access", "uma_authorization"];
/// How deep roles may contain roles, and groups groups.
const DEPTH_MAX: usize = 64;

/// A realm without its users.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Realm {
    #[serde(rename = "realm")]
    pub(super) name: String,
    roles: RealmRoles,
    groups: Vec<Group>,
    pub(super) clients: Vec<KeycloakClient>,
    pub(super) client_scopes: Vec<ClientScope>,
    pub(super) access_token_lifespan: Option<i64>,
    pub(super) sso_session_idle_timeout: Option<i64>,
    pub(super) sso_session_max_lifespan: Option<i64>,
    pub(super) identity_providers: Vec<Value>,
    pub(super) organizations: Vec<Value>,
    pub(super) federated_users: Vec<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RealmRoles {
    realm: Vec<Role>,
    client: BTreeMap<String, Vec<Role>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Role {
    name: String,
    composites: Composites,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Composites {
    realm: Vec<String>,
    client: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Group {
    path: String,
    realm_roles: Vec<String>,
    client_roles: BTreeMap<String, Vec<String>>,
    sub_groups: Vec<Group>,
}

/// A client as the realm has it.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "they are those of Keycloak")]
pub(super) struct KeycloakClient {
    pub(super) client_id: String,
    pub(super) enabled: bool,
    pub(super) public_client: bool,
    pub(super) bearer_only: bool,
    pub(super) direct_access_grants_enabled: bool,
    pub(super) service_accounts_enabled: bool,
    pub(super) standard_flow_enabled: bool,
    pub(super) implicit_flow_enabled: bool,
    pub(super) authorization_services_enabled: bool,
    pub(super) client_authenticator_type: Option<String>,
    pub(super) secret: Option<String>,
    pub(super) protocol: Option<String>,
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) default_client_scopes: Vec<String>,
    pub(super) optional_client_scopes: Vec<String>,
    pub(super) protocol_mappers: Vec<Mapper>,
}

/// What several clients have in common.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ClientScope {
    pub(super) name: String,
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) protocol_mappers: Vec<Mapper>,
}

/// What puts a claim into tokens.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Mapper {
    pub(super) protocol_mapper: String,
    pub(super) config: BTreeMap<String, Value>,
}

/// Which roles users have, with those that their roles and groups contain. A role of a client is `client:role`.
pub(super) struct Roles {
    default: String,
    /// The roles that each role is made of.
    composites: BTreeMap<String, Vec<String>>,
    /// The roles of each group, by its path.
    groups: BTreeMap<String, Vec<String>>,
}

impl Roles {
    pub(super) fn new(realm: Realm) -> Self {
        let mut composites = BTreeMap::new();
        for role in realm.roles.realm {
            composites.insert(role.name, names(&role.composites.realm, &role.composites.client));
        }
        for (client, roles) in realm.roles.client {
            for role in roles {
                let name = of_client(&client, &role.name);
                composites.insert(name, names(&role.composites.realm, &role.composites.client));
            }
        }
        let mut groups = BTreeMap::new();
        collect_groups(&realm.groups, &[], &mut groups, 0);
        Self { default: format!("default-roles-{}", realm.name.to_lowercase()), composites, groups }
    }

    /// The roles of a user, but for those that every user of a realm has.
    pub(super) fn of_user(&self, user: &Map<String, Value>) -> Vec<String> {
        let texts = |value: Option<&Value>| -> Vec<String> {
            let values = value.and_then(Value::as_array).into_iter().flatten();
            values.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let mut direct = texts(user.get("realmRoles"));
        if let Some(clients) = user.get("clientRoles").and_then(Value::as_object) {
            for (client, roles) in clients {
                direct.extend(texts(Some(roles)).iter().map(|role| of_client(client, role)));
            }
        }
        for group in texts(user.get("groups")) {
            direct.extend(self.groups.get(&group).into_iter().flatten().cloned());
        }
        let mut all = BTreeSet::new();
        let mut next = direct;
        while let Some(role) = next.pop() {
            if all.insert(role.clone()) {
                next.extend(self.composites.get(&role).into_iter().flatten().cloned());
            }
        }
        all.into_iter().filter(|role| !self.is_own(role)).collect()
    }

    fn is_own(&self, role: &str) -> bool {
        let of_own_client = |(client, _): (&str, &str)| OWN_CLIENTS.contains(&client);
        role == self.default
            || OWN_ROLES.contains(&role)
            || role.split_once(':').is_some_and(of_own_client)
    }
}

fn of_client(client: &str, role: &str) -> String {
    format!("{client}:{role}")
}

fn names(realm: &[String], clients: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let of_clients =
        clients.iter().flat_map(|(client, roles)| roles.iter().map(|role| of_client(client, role)));
    realm.iter().cloned().chain(of_clients).collect()
}

/// Groups have the roles of those that they are in.
fn collect_groups(
    groups: &[Group],
    inherited: &[String],
    all: &mut BTreeMap<String, Vec<String>>,
    depth: usize,
) {
    for group in groups.iter().filter(|_| depth < DEPTH_MAX) {
        let mut roles = names(&group.realm_roles, &group.client_roles);
        roles.extend_from_slice(inherited);
        collect_groups(&group.sub_groups, &roles, all, depth + 1);
        all.insert(group.path.clone(), roles);
    }
}
