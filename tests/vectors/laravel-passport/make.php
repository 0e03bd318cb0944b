<?php
// Makes the tables of Laravel with Passport in the columns of its migrations, of version 12 (which are those of 11) and of
// version 13, with the hashes that PHP's password_hash makes: Laravel's Hash is that function.
//
//     apt-get install php-cli php-sqlite3
//     php tests/vectors/laravel-passport/make.php
//
// It writes passport-12.sqlite3, passport-13.sqlite3, passport-13.sql (for PostgreSQL), passport-13/ (CSV), and
// expected.json, which is right for all of them.

$users_columns = [
    'id' => 'bigint', 'name' => 'varchar(255)', 'email' => 'varchar(255)', 'email_verified_at' => 'timestamp',
    'password' => 'varchar(255)', 'remember_token' => 'varchar(100)', 'created_at' => 'timestamp', 'updated_at' => 'timestamp',
];
$columns_12 = [
    'id' => 'varchar(255)', 'user_id' => 'bigint', 'name' => 'varchar(255)', 'secret' => 'varchar(100)',
    'provider' => 'varchar(255)', 'redirect' => 'text', 'personal_access_client' => 'boolean',
    'password_client' => 'boolean', 'revoked' => 'boolean', 'created_at' => 'timestamp', 'updated_at' => 'timestamp',
];
$columns_13 = [
    'id' => 'uuid', 'owner_type' => 'varchar(255)', 'owner_id' => 'bigint', 'name' => 'varchar(255)',
    'secret' => 'varchar(255)', 'provider' => 'varchar(255)', 'redirect_uris' => 'text', 'grant_types' => 'text',
    'revoked' => 'boolean', 'created_at' => 'timestamp', 'updated_at' => 'timestamp',
];
$personal_columns = ['id' => 'bigint', 'client_id' => 'varchar(255)', 'created_at' => 'timestamp', 'updated_at' => 'timestamp'];

$made = '2025-01-02 03:04:05';
$users = $expected_users = $refused = [];
foreach ([
    ['anna', PASSWORD_BCRYPT, ['cost' => 12], '2025-01-02 03:04:06'],
    ['bert', PASSWORD_BCRYPT, ['cost' => 10], null],
    ['carl', PASSWORD_ARGON2ID, ['memory_cost' => 65536, 'time_cost' => 4, 'threads' => 1], null],
    ['dora', PASSWORD_ARGON2I, ['memory_cost' => 1024, 'time_cost' => 2, 'threads' => 2], null],
    ['jürgen', PASSWORD_BCRYPT, ['cost' => 10], null],
] as $at => [$name, $function, $cost, $verified]) {
    $password = $name === 'jürgen' ? 'Prüfwort, мир, 密碼' : "test password of $name";
    $email = "$name@example.test";
    $users[] = [$at + 1, ucfirst($name), $email, $verified, password_hash($password, $function, $cost), 'a token of tests', $made, $made];
    $expected_users[$email] = [
        'password' => $password, 'sub' => (string) ($at + 1), 'disabled' => false, 'roles' => [],
        'email_verified' => $verified !== null,
    ];
}
$users[] = [6, 'Md5', 'md5@example.test', null, md5('test'), null, $made, $made];
$refused['md5@example.test'] = 'MD5';
$users[] = [7, 'None', 'none@example.test', null, '', null, $made, $made];
$refused['none@example.test'] = 'no password';

// The name, whether its secret is hashed or readable, or none, its grants, whether it is revoked.
$clients_12 = $clients_13 = $clients = [];
foreach ([
    ['web', 'hashed', ['password', 'refresh_token'], false],
    ['readable', 'readable', ['password', 'refresh_token'], false],
    ['phone', null, ['password', 'refresh_token'], false],
    ['revoked', 'hashed', ['password', 'refresh_token'], true],
    ['personal', 'hashed', ['personal_access'], false],
    ['machine', 'hashed', ['client_credentials'], false],
    ['page', null, ['authorization_code', 'refresh_token'], false],
    ['provider', 'hashed', ['password', 'refresh_token'], false],
] as $at => [$name, $form, $grants, $revoked]) {
    $digest = md5("client $name");
    $id = vsprintf('%s-%s-4%s-8%s-%s', [substr($digest, 0, 8), substr($digest, 8, 4), substr($digest, 13, 3), substr($digest, 17, 3), substr($digest, 20)]);
    $secret = $form === null ? null : "test-secret-of-$name-" . substr(sha1($name), 0, 20);
    $stored = $form === 'hashed' ? password_hash($secret, PASSWORD_BCRYPT, ['cost' => 10]) : $secret;
    $is_password = (int) in_array('password', $grants);
    $provider = $name === 'provider' ? 'admins' : null;
    $redirects = $name === 'page' ? ['https://app.example.test/callback'] : [];
    $clients_12[] = [$id, null, "The $name", $stored, $provider, implode(',', $redirects), (int) ($name === 'personal'), $is_password, (int) $revoked, $made, $made];
    $clients_13[] = [$id, null, null, "The $name", $stored, $provider, json_encode($redirects, JSON_UNESCAPED_SLASHES), json_encode($grants), (int) $revoked, $made, $made];
    $clients[$id] = ['name' => "The $name", 'secret' => $secret, 'form' => $form, 'password_grant' => $is_password && $provider === null, 'disabled' => $revoked];
}
$personal = [[1, $clients_12[4][0], $made, $made]];

function create($table, $columns) {
    $lines = array_map(fn ($name, $type) => "  \"$name\" $type", array_keys($columns), $columns);
    return "CREATE TABLE $table (\n" . implode(",\n", $lines) . "\n)";
}

foreach ([12 => [$columns_12, $clients_12], 13 => [$columns_13, $clients_13]] as $version => [$columns, $rows]) {
    $tables = ['users' => [$users_columns, $users], 'oauth_clients' => [$columns, $rows]];
    if ($version === 12) {
        $tables['oauth_personal_access_clients'] = [$personal_columns, $personal];
    }
    @unlink(__DIR__ . "/passport-$version.sqlite3");
    $database = new PDO('sqlite:' . __DIR__ . "/passport-$version.sqlite3", null, null, [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
    foreach ($tables as $table => [$columns, $rows]) {
        $database->exec(create($table, $columns));
        $insert = $database->prepare("INSERT INTO $table VALUES (" . implode(', ', array_fill(0, count($columns), '?')) . ')');
        foreach ($rows as $row) {
            $insert->execute($row);
        }
    }
}

$sql = '';
@mkdir(__DIR__ . '/passport-13');
foreach (['users' => [$users_columns, $users], 'oauth_clients' => [$columns_13, $clients_13]] as $table => [$columns, $rows]) {
    $sql .= create($table, $columns) . ";\n";
    $file = fopen(__DIR__ . "/passport-13/$table.csv", 'w');
    fputcsv($file, array_keys($columns), ',', '"', '');
    foreach ($rows as $row) {
        fputcsv($file, $row, ',', '"', '');
        $values = array_map(fn ($value) => $value === null ? 'NULL' : "'" . str_replace("'", "''", (string) $value) . "'", $row);
        $sql .= "INSERT INTO $table VALUES (" . implode(', ', $values) . ");\n";
    }
}
file_put_contents(__DIR__ . '/passport-13.sql', $sql);
$expected = ['users' => $expected_users, 'refused' => $refused, 'clients' => $clients];
file_put_contents(__DIR__ . '/expected.json', json_encode($expected, JSON_PRETTY_PRINT | JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES) . "\n");
