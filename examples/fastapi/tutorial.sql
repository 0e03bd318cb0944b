-- The users of tutorial.py: all have the password "secret", and bob may not log in.
CREATE TABLE "user" (
    id INTEGER PRIMARY KEY,
    username TEXT NOT NULL UNIQUE,
    full_name TEXT NOT NULL,
    disabled BOOLEAN NOT NULL,
    hashed_password TEXT NOT NULL
);
INSERT INTO "user" (id, username, full_name, disabled, hashed_password) VALUES
    (1, 'johndoe', 'John Doe', FALSE,
     '$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW'),
    (2, 'alice', 'Alice Wonderson', FALSE,
     '$argon2id$v=19$m=65536,t=3,p=4$wagCPXjifgvUFBzq4hqe3w$CYaIb8sB+wtD+Vu/P4uod1+Qof8h+1g7bbDlBID48Rc'),
    (3, 'bob', 'Bob Builder', TRUE,
     '$2b$12$Zu7AfTAsylYMHl2cWF7p3O/wm9pbNzL5tfou9flJ97k2EEVUi.tMS');
