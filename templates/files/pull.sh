#cloud-boothook
#!/bin/sh
# Fetches this server's certificate out of its wrapping in Vault, once, and puts it in place. Written by failover.
# A boothook runs on each boot, and the token works once; the link below changes with the instance.
# https://docs.cloud-init.io/en/latest/explanation/format.html#cloud-boothook
mark=/var/lib/cloud/instance/failover-pulled
[ -e $mark ] && exit 0
# cloud-init is written in Python 3 itself, so it is there; nothing beside its own library is used.
python=
for p in /usr/bin/python3 /usr/libexec/platform-python /usr/local/bin/python3; do
  [ -x $p ] && python=$p && break
done
if [ -z "$python" ]; then
  echo 'failover: FAILED: the image has no Python 3, which the certificate is fetched with' >/dev/console
  exit 0
fi
# It goes to the background: the network and Vault may be a while.
$python - <<'FAILOVER_PULL' >/dev/null 2>&1 &
import base64, grp, hashlib, json, os, pwd, re, ssl, subprocess, tempfile, time, urllib.error, urllib.request

plan = json.loads(r'''@FAILOVER_PLAN@''')
mark = '/var/lib/cloud/instance/failover-pulled'
name = 'certificate ' + plan['certificate']
began = time.monotonic()


class Alarm(Exception):
    pass


class Failed(Exception):
    pass


class Again(Exception):
    pass


def say(text, times=1):
    text = ''.join(c if ' ' <= c <= '~' else ' ' for c in text)
    for n in range(times):  # the kernel may write into a line
        if n:
            time.sleep(5)
        ttys = ['/dev/console']
        try:
            with open('/sys/class/tty/console/active') as f:
                if f.read().split()[-1:] != ['ttyS0'] and os.path.exists('/dev/ttyS0'):
                    ttys.append('/dev/ttyS0')
        except OSError:
            pass
        for tty in ttys:
            try:
                with open(tty, 'w') as f:
                    f.write('\n' + text + '\n')
            except OSError:
                pass


def until(limit, do, pause=3):
    """do, until it does not say Again, or the time is over."""
    end, told = time.monotonic() + limit, 0
    while True:
        try:
            return do()
        except Again as e:
            if time.monotonic() >= end:
                raise Failed('%s, for %d s' % (e, limit))
            if time.monotonic() >= told:
                told = time.monotonic() + 15
                say('failover: %s: %s; trying on' % (name, e))
            time.sleep(pause)


def ask(address, verb, token=None, body=None):
    """One request: the answer, or Again where nobody of use has answered, or (status, errors) where Vault says no."""
    head = {'Content-Type': 'application/json'}
    if plan['namespace']:
        head['X-Vault-Namespace'] = plan['namespace']
    if token:
        head['X-Vault-Token'] = token
    tls = ssl.create_default_context(cadata=plan['ca'] or None)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls))
    r = urllib.request.Request(address.rstrip('/') + '/v1/sys/wrapping/' + verb, json.dumps(body or {}).encode(), head, method='POST')
    try:
        with opener.open(r, timeout=15) as answer:
            return json.loads(answer.read(1 << 20).decode()), None
    except urllib.error.HTTPError as e:
        try:
            errors = json.loads(e.read(1 << 16).decode())['errors']
        except Exception:
            errors = None
        if e.code in (400, 403, 404) and isinstance(errors, list):
            return None, (e.code, ', '.join(str(x) for x in errors)[:160].replace(plan['token'], '...'))
        raise Again('Vault at %s answers %d' % (address, e.code))
    except Exception as e:  # no route yet, no name yet, a clock that is not set yet, a node that is down
        why = str(getattr(e, 'reason', e))[:120].replace(plan['token'], '...')
        raise Again('Vault at %s is not reached (%s)' % (address, why))


def fetch():
    """The wrapped answer of Vault, and the version of its KV engine."""
    sent = [False]
    used = ('the wrapping token was used before, or is older than %d s' % plan['ttl'])

    def at(address):
        look, no = ask(address, 'lookup', body={'token': plan['token']})
        if no and sent[0]:
            raise Failed('the answer of Vault was lost on the way here, and the token works once')
        if no:
            raise Alarm('%s (Vault: %d %s)' % (used, no[0], no[1]))
        path = look['data'].get('creation_path', '')
        if path not in plan['paths']:  # somebody's own wrapping, in the place of ours
            raise Alarm('the wrapping was made at %r, not at %s' % (path[:80], ' or '.join(sorted(plan['paths']))))
        open(mark, 'w').close()
        sent[0] = True
        doc, no = ask(address, 'unwrap', token=plan['token'])
        if no:
            raise Alarm('%s (Vault: %d %s)' % (used, no[0], no[1]))
        return doc, plan['paths'][path]

    def once():
        why = ''
        for address in plan['addresses']:
            try:
                return at(address)
            except Again as e:
                why = str(e)
        raise Again(why)
    return until(max(plan['ttl'] - (time.monotonic() - began), 1), once)


def pick(doc, field):
    """One text of a JSON document, as docs/secrets/exec.md says of fields."""
    for word in re.split(r'(?<!\\)\.', field):
        word = word.replace('\\.', '.').replace('{path}', plan['at'])
        if isinstance(doc, dict):
            doc = doc.get(word)
        elif isinstance(doc, list) and word.isdigit() and int(word) < len(doc):
            doc = doc[int(word)]
        elif isinstance(doc, list) and '=' in word:
            k, v = word.split('=', 1)
            doc = next((x for x in doc if isinstance(x, dict) and x.get(k) == v), None)
        else:
            doc = None
    if isinstance(doc, list):
        doc = '\n'.join(doc)
    if not isinstance(doc, str):
        raise Failed('what was wrapped has no text at %s' % field)
    if '-----BEGIN ' not in doc:
        flat = ''.join(doc.split()).replace('-', '+').replace('_', '/')
        try:
            doc = base64.b64decode(flat + '=' * (-len(flat) % 4)).decode()
        except ValueError:
            pass
    return doc.replace('\\n', '\n')


def parts(doc, version):
    """Chain, leaf first, and key: those that the run has judged, and that belong together."""
    prefix = 'data.data.' if version == 2 else 'data.'
    text = '\n'.join(pick(doc, prefix + f) for f in plan['chain'])
    secret = pick(doc, prefix + plan['key'])
    block = r'-----BEGIN %s-----.+?-----END %s-----'
    certs = re.findall(block % ('CERTIFICATE', 'CERTIFICATE'), text, re.S)
    keys = re.findall(block % ('(?:[A-Z]+ )?PRIVATE KEY', '(?:[A-Z]+ )?PRIVATE KEY'), secret, re.S)
    digest = [hashlib.sha256(ssl.PEM_cert_to_DER_cert(c)).hexdigest() for c in certs]
    if plan['fingerprint'] not in digest:
        raise Failed('Vault holds another certificate by now (SHA-256 %s) than the run began with' % (digest or ['none'])[0])
    if len(keys) != 1:
        raise Failed('what was wrapped holds %d private keys' % len(keys))
    leaf = certs[digest.index(plan['fingerprint'])]
    chain, seen = [leaf], {plan['fingerprint']}
    for c, d in zip(certs, digest):
        if d not in seen:
            seen.add(d)
            chain.append(c)
    return chain, keys[0]


def together(folder, chain, key):
    """OpenSSL itself says whether a key is that of the leaf; it reads files alone."""
    fd, path = tempfile.mkstemp(dir=folder, prefix='.failover-')
    try:
        with os.fdopen(fd, 'w') as f:
            f.write('\n'.join(chain + [key]) + '\n')
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path, password=lambda: '')
    except Exception:
        raise Failed('the key that was wrapped does not belong to the certificate')
    finally:
        os.unlink(path)


def account(text, find, field):
    if text.isdigit():
        return int(text)
    try:
        return getattr(find(text), field)
    except KeyError:
        raise Again('there is no user or group %s yet' % text)


def install(chain, key):
    path, files = plan['path'], {'': chain + [key]}
    if plan['layout'] == 'files':
        files = {'cert.pem': chain[:1], 'chain.pem': chain[1:], 'fullchain.pem': chain, 'privkey.pem': [key]}
    owner, _, group = plan['owner'].partition(':')
    uid = account(owner, pwd.getpwnam, 'pw_uid')
    if group:
        gid = account(group, grp.getgrnam, 'gr_gid')
    else:
        gid = account(owner, pwd.getpwnam, 'pw_gid')
    folder, last = os.path.split(path)
    os.umask(0o066 if plan['shared'] else 0o077)
    os.makedirs(folder, exist_ok=True)
    os.umask(0o077)
    together(folder, chain, key)
    aside = tempfile.mkdtemp(dir=folder, prefix='.%s.failover-' % last)
    for one, blocks in files.items():
        at = os.path.join(aside, one or last)
        with open(at, 'w') as f:
            f.write(''.join(b + '\n' for b in blocks))
            f.flush()
            os.fsync(f.fileno())
        os.chown(at, uid, gid)
        os.chmod(at, int(plan['mode'], 8))
    if plan['layout'] == 'bundle':
        os.rename(os.path.join(aside, last), path)
        os.rmdir(aside)
        return
    os.chown(aside, uid, gid)
    os.chmod(aside, int(plan['folder'], 8))
    if os.path.isdir(path) and not os.path.islink(path):
        raise Failed('%s is a folder that failover did not make' % path)
    os.symlink(os.path.basename(aside), aside + '.link')
    os.rename(aside + '.link', path)


def reload():
    if plan['reload'] and subprocess.call(plan['reload'], stdin=subprocess.DEVNULL) != 0:
        raise Again('the certificate is in place, and %s does not succeed' % ' '.join(plan['reload']))


def wipe():
    """The token is spent; its copies that are in the open here go all the same."""
    token = plan['token'].encode()
    for top, _, names in os.walk(os.path.realpath('/var/lib/cloud/instance')):
        for n in names:
            try:
                with open(os.path.join(top, n), 'r+b') as f:
                    text = f.read()
                    if token in text:
                        f.seek(0)
                        f.write(text.replace(token, b'x' * len(token)))
            except OSError:
                pass


try:
    doc, version = fetch()
    chain, key = parts(doc, version)
    until(300, lambda: install(chain, key))
    until(300, reload)
    wipe()
    say('failover: %s is in place, SHA-256 %s' % (name, plan['fingerprint']), 3)
except Alarm as e:
    open(mark, 'w').close()
    wipe()
    say('failover: ALARM: %s: %s' % (name, e), 3)
except Failed as e:
    say('failover: FAILED: %s: %s' % (name, e), 3)
except Exception as e:  # of no secret is more said than its kind
    say('failover: FAILED: %s: %s' % (name, type(e).__name__), 3)
FAILOVER_PULL
