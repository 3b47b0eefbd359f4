# frozen_string_literal: true

# The tutorial's application in Ruby on Sinatra and Puma, with two necessities added: a state that
# is checked, and a connection to the database that stays open.
require 'json'
require 'net/http'
require 'securerandom'
require 'sinatra/base'
require 'sqlite3'
require 'time'

UPSTREAM = ENV.fetch('BENCH_UPSTREAM')
REDIRECT_URI = ENV.fetch('BENCH_REDIRECT_URI')
DB = SQLite3::Database.new(ENV.fetch('BENCH_DATABASE'))
DB.execute('PRAGMA journal_mode=WAL')
DB.execute('PRAGMA synchronous=FULL')
DB.execute('CREATE TABLE IF NOT EXISTS users ' \
           '(id INTEGER PRIMARY KEY, procore_id INTEGER UNIQUE, email VARCHAR(255), ' \
           'name VARCHAR(255), me TEXT, created_at INTEGER, last_signed_in_at INTEGER)')
Person = Struct.new(:id, :procore_id, :email, :name, :me, :created_at, :last_signed_in_at) do
  def row = [id, procore_id, email]
end
WHEN = '%-d %B %Y, %H:%M UTC'
FORTNIGHT = 14 * 24 * 3600
LOCK = Mutex.new

class App < Sinatra::Base
  configure do
    set :environment, :production
    set :logging, false
    set :sessions, secret: 'a secret of the benchmark that is long enough for a cookie store, 64+'
  end

  get '/login' do
    session['state'] = SecureRandom.hex(32)
    redirect "#{UPSTREAM}/oauth/authorize?" + URI.encode_www_form(
      client_id: 'bench-client-id', response_type: 'code', redirect_uri: REDIRECT_URI,
      state: session['state']
    )
  end

  get '/callback' do
    halt 400 unless params['state'] == session.delete('state')
    answer = Net::HTTP.post_form(
      URI.parse("#{UPSTREAM}/oauth/token"),
      'grant_type' => 'authorization_code', 'client_id' => 'bench-client-id',
      'client_secret' => 'bench-client-secret', 'code' => params['code'],
      'redirect_uri' => REDIRECT_URI
    )
    uri = URI.parse("#{UPSTREAM}/rest/v1.0/me")
    request = Net::HTTP::Get.new(uri)
    request['authorization'] = "Bearer #{JSON.parse(answer.body)['access_token']}"
    me = JSON.parse(Net::HTTP.start(uri.hostname, uri.port) { |http| http.request(request) }.body)
    session['user_id'] = LOCK.synchronize { user_id(me) }
    redirect '/home'
  end

  get '/home' do
    found = LOCK.synchronize do
      DB.execute('SELECT * FROM users WHERE id = ?', [session['user_id']]).first
    end
    redirect '/login' if found.nil?
    if request.env['HTTP_ACCEPT'] == 'application/json'
      content_type :json
      found.first(3).to_json
    else
      show(*found)
    end
  end

  helpers do
    def h(text) = Rack::Utils.escape_html(text.to_s)
  end

  def show(*texts, created_at, last_signed_in_at)
    @person = Person.new(*texts, Time.at(created_at).utc, Time.at(last_signed_in_at).utc)
    @session_ends_at = @person.last_signed_in_at + FORTNIGHT
    @row = @person.row.to_json
    @me = JSON.pretty_generate(JSON.parse(@person.me))
    erb :home
  end

  def user_id(me)
    now = Time.now.to_i
    found = DB.execute('SELECT id FROM users WHERE procore_id = ?', [me['id']]).first
    if found
      DB.execute('UPDATE users SET name = ?, me = ?, last_signed_in_at = ? WHERE id = ?',
                 [me['name'], me.to_json, now, found[0]])
      return found[0]
    end
    DB.execute('INSERT INTO users (procore_id, email, name, me, created_at, last_signed_in_at) ' \
               'VALUES (?, ?, ?, ?, ?, ?)',
               [me['id'], me['login'], me['name'], me.to_json, now, now])
    DB.last_insert_row_id
  end
end
