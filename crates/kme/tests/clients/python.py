"""Takes keys as the master and fetches them as the slave with the PyPI client `etsi-qkd-014-client`."""

import sys

from etsi_qkd_014_client import QKD014Client

host, port, ca, master_cert, master_key, slave_cert, slave_key, master, slave = sys.argv[1:]
a = QKD014Client(f"{host}:{port}", master_cert, master_key, ca)
b = QKD014Client(f"{host}:{port}", slave_cert, slave_key, ca)

code, status = a.get_status(slave)
assert code == 200 and status.master_sae_id == master and status.slave_sae_id == slave, str(status)
for arguments in [{}, {"number": 2, "size": 128}, {"extension_optional": [{"hint": 1}]}]:
    code, made = a.get_key(slave, **arguments)
    assert code == 200, (code, str(made))
    ids = [key.key_id for key in made.keys]
    code, got = b.get_key_with_key_IDs(master, ids)
    assert code == 200, (code, str(got))
    assert [key.key for key in got.keys] == [key.key for key in made.keys]
    code, again = b.get_key_with_key_IDs(master, ids)
    assert code == 400 and again.message == "one or more keys specified are not found on KME", (code, str(again))
code, refused = a.get_key(slave, size=257)
assert code == 400 and refused.message == "size shall be a multiple of 8", (code, str(refused))
code, refused = a.get_key(slave, extension_mandatory=[{"abc": 1}])
assert code == 400 and refused.message == "not all extension_mandatory parameters are supported", (code, str(refused))
code, made = a.get_key(slave)
code, refused = a.get_key_with_key_IDs(master, [made.keys[0].key_id])
assert code == 401 and refused.message, (code, str(refused))
